//! What Microsoft Entra means by its words, and the place where a machine asks for its identity's tokens.
//!
//! The words: <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>.

use super::who::{Way, ways};
use super::{Case, Finding, TroubleKind};

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let (code, who, id) = (case.answer.code.as_str(), case.sign_in, case.who.id());
    let Some(number) = code.strip_prefix("AADSTS") else {
        return (code == "invalid_request" && case.answer.says(&["Identity not found"])).then(|| {
            case.no_credential(
                "assign a managed identity to this machine; if it is user-assigned, say client_id beside \
                 managed_identity = true, or set AZURE_CLIENT_ID",
            )
        });
    };
    let found = match number {
        "7000215" | "7000216" => case.wrong(format!(
            "the secret is none of the application's: set the value of one, not its id, as client_secret {}; a new one \
             comes from az ad app credential reset --id {id} --append",
            case.who.place()
        )),
        "7000222" => Finding::new(
            TroubleKind::Expired,
            format!("the secret of {who} has expired"),
            format!(
                "create another (az ad app credential reset --id {id} --append), and set it as client_secret {}; a \
                 managed identity needs none",
                case.who.place()
            ),
        ),
        "700016" => case.wrong(format!(
            "there is no application {id} in that tenant: correct client_id and tenant_id {}",
            case.who.place()
        )),
        "7000229" => case.wrong(format!(
            "the application is not known in that tenant: correct tenant_id {}, or admit it there with az ad sp create \
             --id {id}",
            case.who.place()
        )),
        "90002" | "900023" => case.wrong(format!(
            "there is no such tenant: correct tenant_id {} (az account show --query tenantId)",
            case.who.place()
        )),
        "7000112" => Finding::new(
            TroubleKind::NotAllowed,
            format!("{who} is disabled"),
            "ask those who look after the applications of the tenant",
        ),
        "70021" | "700211" | "700212" | "700213" => case.wrong(format!(
            "add a federated credential to {id} whose issuer, subject and audience are those of the service account that \
             limno runs as (az identity federated-credential create)"
        )),
        "700024" => Finding::new(
            TroubleKind::Clock,
            format!("the token by which {who} signs in is not of this time"),
            "set the clock of this machine (NTP), and see that the cluster renews the file AZURE_FEDERATED_TOKEN_FILE",
        ),
        "50076" | "50078" | "50079" | "50173" | "70043" | "700082" => case.no_credential("run az login where limno runs"),
        "53000" | "53001" | "53003" => Finding::new(
            TroubleKind::NotAllowed,
            format!("a Conditional Access policy keeps {who} out"),
            "ask those who look after the tenant to let it in from this network",
        ),
        _ if matches!(case.who.way, Way::ServicePrincipal(_)) => {
            case.wrong(format!("check client_id, tenant_id and client_secret {}", case.who.place()))
        }
        _ => case.no_credential(ways(case)),
    };
    Some(found)
}
