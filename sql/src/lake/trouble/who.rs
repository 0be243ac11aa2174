//! Who signed in, as far as that changes what is to be done.

use super::{Access, Case, Finding};

/// Who signed in. The words are those that the stores themselves say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Who<'a> {
    pub(super) way: Way<'a>,
    /// The name of the block of the configuration, or nothing if the environment named them.
    block: Option<&'a str>,
    /// The variable of the environment that named them.
    variable: Option<&'a str>,
}

/// Ways to sign in that have ways out of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way<'a> {
    /// The key of a storage account.
    AccountKey,
    /// A shared access signature.
    Sas,
    /// An application of Entra with a secret, by its id.
    ServicePrincipal(&'a str),
    /// Another identity of Entra, by its id where it is known.
    Identity(Option<&'a str>),
    /// A key of AWS, by its id.
    AccessKey(&'a str),
    /// A service account of Google, by its address where the key names it.
    ServiceAccount(Option<&'a str>),
    /// Nobody.
    Anonymous,
    /// What a catalog handed out.
    HandedOut,
    /// Someone else.
    Other,
}

impl<'a> Who<'a> {
    pub(super) fn of(words: &'a str) -> Self {
        let (front, block) = match words.rsplit_once(" of [store.") {
            Some((front, block)) => (front, block.strip_suffix(']')),
            None => (words, None),
        };
        // `… (AZURE_CLIENT_SECRET)`, at the end.
        let variable = front.strip_suffix(')').and_then(|words| Some(words.rsplit_once('(')?.1));
        let is_name = |text: &&str| text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let after = |prefix: &str| front.strip_prefix(prefix).and_then(|rest| rest.split(' ').next());
        let way = if words.starts_with("temporary credentials") {
            Way::HandedOut
        } else if front.starts_with("the account key") {
            Way::AccountKey
        } else if front.starts_with("a shared access signature") {
            Way::Sas
        } else if let Some(id) = after("service principal ") {
            Way::ServicePrincipal(id)
        } else if let Some(id) = after("managed identity ").or_else(|| after("workload identity ")) {
            Way::Identity(Some(id).filter(|id| !id.is_empty()))
        } else if ["the managed identity", "whoever is signed in with az", "a bearer token"]
            .iter()
            .any(|known| front.starts_with(known))
        {
            Way::Identity(None)
        } else if let Some(id) = after("access key ") {
            Way::AccessKey(id)
        } else if front.starts_with("service account") {
            Way::ServiceAccount(after("service account "))
        } else if front.starts_with("anonymously") {
            Way::Anonymous
        } else {
            Way::Other
        };
        Self { way, block, variable: variable.filter(is_name) }
    }

    /// Where what is wrong was said, and is to be said right.
    pub(super) fn place(&self) -> String {
        match (self.block, self.variable) {
            (Some(block), _) => format!("in [store.{block}]"),
            (None, Some(variable)) => format!("as {variable}"),
            (None, None) => "where limno runs".to_owned(),
        }
    }

    /// The id by which rights are granted to it, or what stands in its place.
    pub(super) fn id(&self) -> &'a str {
        match self.way {
            Way::ServicePrincipal(id) | Way::Identity(Some(id)) => id,
            _ => "ID",
        }
    }
}

/// Nobody signed in, and no service was asked.
pub(super) fn find_nobody(case: &Case<'_>, text: &str) -> Option<Finding> {
    if case.answer.status.is_some() {
        return None;
    }
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["az login", "Azure CLI", "'az account get-access-token' command failed", "no path to azure cli"]) {
        return Some(case.no_credential(
            "run az login where limno runs (az account show tells whether that worked), or let a managed identity sign in",
        ));
    }
    if says(&["SSO session", "sso login", "SSOToken", "SsoToken"]) {
        return Some(case.no_credential("run aws sso login where limno runs"));
    }
    let is_none = says(&[
        "no providers in chain",
        "CredentialsNotLoaded",
        "the credential provider was not enabled",
        "` was not defined",
        // Machines outside of the cloud have none of these.
        "169.254.169.254",
        "metadata.google.internal",
    ]);
    is_none.then(|| case.no_credential(ways(case)))
}

/// How one can sign in.
pub(super) fn ways(case: &Case<'_>) -> String {
    let ways = match case.authority.split_once("://").map_or("", |(scheme, _)| scheme) {
        "s3" | "s3a" => "access_key_id and secret_access_key, or profile, or the variables AWS_…",
        "gs" => "service_account, or GOOGLE_APPLICATION_CREDENTIALS",
        "http" | "https" => "a credential",
        _ => {
            "account_key, sas_token, client_secret, managed_identity, workload_identity or azure_cli, or the variables \
             AZURE_…"
        }
    };
    let may_be_public = case.access != Access::Write && case.who.way != Way::Anonymous;
    let or_nobody = if may_be_public { "; anonymous = true if it is public" } else { "" };
    match case.who.block {
        Some(block) => format!("say in [store.{block}] who signs in: {ways}{or_nobody}"),
        None => {
            format!("say in a [store.NAME] block with url = \"{}\" who signs in: {ways}{or_nobody}", case.authority)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_sign_in_are_known_by_their_words() {
        for (words, way, place) in [
            ("the account key of [store.lake]", Way::AccountKey, "in [store.lake]"),
            (
                "the account key of the environment (AZURE_STORAGE_ACCOUNT_KEY)",
                Way::AccountKey,
                "as AZURE_STORAGE_ACCOUNT_KEY",
            ),
            ("a shared access signature (until 2026-01-01T00:00:00Z) of [store.a-b]", Way::Sas, "in [store.a-b]"),
            ("service principal 1f-2 of [store.lake]", Way::ServicePrincipal("1f-2"), "in [store.lake]"),
            (
                "service principal 1f-2 of the environment (AZURE_CLIENT_SECRET)",
                Way::ServicePrincipal("1f-2"),
                "as AZURE_CLIENT_SECRET",
            ),
            ("managed identity 1f-2 of [store.lake]", Way::Identity(Some("1f-2")), "in [store.lake]"),
            ("the managed identity of this machine of [store.lake]", Way::Identity(None), "in [store.lake]"),
            (
                "the managed identity of this machine, as the environment names nobody",
                Way::Identity(None),
                "where limno runs",
            ),
            ("workload identity 1f-2 of [store.lake]", Way::Identity(Some("1f-2")), "in [store.lake]"),
            ("whoever is signed in with az login (AZURE_USE_AZURE_CLI)", Way::Identity(None), "as AZURE_USE_AZURE_CLI"),
            ("access key AKIA of [store.b]", Way::AccessKey("AKIA"), "in [store.b]"),
            ("access key AKIA of the environment", Way::AccessKey("AKIA"), "where limno runs"),
            ("service account a@b.c of [store.g]", Way::ServiceAccount(Some("a@b.c")), "in [store.g]"),
            ("anonymously of [store.p]", Way::Anonymous, "in [store.p]"),
            (
                "temporary credentials (READ) of uc://a.b.c, from https://x for the token of [store.c]",
                Way::HandedOut,
                "in [store.c]",
            ),
        ] {
            let who = Who::of(words);
            assert_eq!((who.way, who.place().as_str()), (way, place), "{words}");
        }
    }
}
