//! What goes wrong with a store, as the user meets it: `check` and `run` say each trouble in one message that tells what
//! to do, other monitors are refreshed, and no secret shows.

use std::net::TcpListener;

use serde_json::json;

use super::day;
use crate::support_block::{Block, Service};
use crate::support_run::{Place, Ran, components};

/// A key that is none of the account's.
const WRONG_KEY: &str = "dGhpcyBpcyBub3QgdGhlIGtleSBvZiB0aGF0IGFjY291bnQ=";

/// Which table of the monitor lies in the store that is in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lies {
    Source,
    Output,
}

fn snapshot(name: &str, table: &str, output: &str) -> String {
    format!("[monitor.{name}]\ntable = \"{table}\"\noutput = \"{output}\"\n[monitor.{name}.snapshot]\n")
}

/// A monitor of which one table lies in the store of the block, and another that has nothing to do with it.
fn place_with(block: &Block, lies: Lies) -> Place {
    let mut place = Place::new();
    place.delta("t", &day(1, 1.0));
    let (variable, secret) = block.variable();
    place.set(&variable, &secret);
    let there = format!("{}troubles-{}/t", block.url, std::process::id());
    let monitor = match lies {
        Lies::Source => snapshot("m", &there, "~/out"),
        Lies::Output => snapshot("m", "~/t", &there),
    };
    place.configure(&(monitor + &snapshot("other", "~/t", "~/others") + &block.to_string()));
    place
}

#[track_caller]
fn assert_told(ran: Ran, block: &Block, parts: &[&str]) -> Ran {
    let ran = ran.fails(1, parts);
    // Once, also where several requests met it.
    for once in [parts[0], "\n  hint: "] {
        assert_eq!(ran.err.matches(once).count(), 1, "{once:?} in {}", ran.err);
    }
    assert!(!ran.err.contains(&block.secret) && !ran.out.contains(&block.secret), "{}\n{}", ran.err, ran.out);
    ran
}

/// All that is told of the trouble, in this order: where and what, and the hint.
#[track_caller]
fn meets(block: &Block, lies: Lies, parts: &[&str]) {
    let place = place_with(block, lies);
    // Whether a place can be written is found by writing there.
    let check = place.limno(if lies == Lies::Output { &["check", "--write"] } else { &["check"] });
    let check = assert_told(check, block, parts);
    assert!(check.err.contains("monitor m ("), "{}", check.err);
    assert!(check.out.contains("monitor other: "), "{}", check.out);

    let run = assert_told(place.limno(&["run"]), block, parts);
    let refreshed: Vec<_> = run.reports().into_iter().filter(|report| report["refreshed"] == true).collect();
    assert_eq!(refreshed.len(), 1, "{refreshed:?}");
    assert_eq!(refreshed[0]["monitor"], "other");
    if lies == Lies::Source {
        assert!(place.files("out").iter().all(|(path, _)| !path.ends_with("m_ledger")), "{:?}", place.files("out"));
    }
    place.configure(&snapshot("other", "~/t", "~/others"));
    assert_eq!(place.row("SELECT count(*) AS n FROM other_profile_metrics WHERE column_name = 'x'")["n"], json!(1));
}

/// An address at which nobody listens any more.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_wrong_account_key() {
    let Some(block) = Block::new(Service::AzureByKey) else { return };
    let block = block.with_secret(WRONG_KEY);
    for lies in [Lies::Source, Lies::Output] {
        meets(
            &block,
            lies,
            &["the account key of [store.lake] is not accepted", "az storage account keys list --account-name"],
        );
    }
}

#[test]
fn a_signature_that_has_ended() {
    let Some([expired]) = components(["LIMNO_TEST_AZURE_SAS_EXPIRED"]) else { return };
    let block = Block::new(Service::AzureBySas).unwrap().with_secret(&expired);
    meets(
        &block,
        Lies::Source,
        &[
            "a shared access signature (until ",
            "of [store.lake] has expired",
            "issue a shared access signature of container lake with the permissions rl",
            "and set it in [store.lake]",
        ],
    );
}

#[test]
fn a_signature_that_was_cut() {
    let Some(block) = Block::new(Service::AzureBySas) else { return };
    // One of its last letters is lost.
    let cut = block.secret.replacen("sig=", "sig=A", 1);
    meets(&block.with_secret(&cut), Lies::Source, &["is not accepted", "it has ended, is not whole, or was signed by"]);
}

#[test]
fn a_signature_that_may_not_write() {
    let Some([read]) = components(["LIMNO_TEST_AZURE_SAS_READ"]) else { return };
    let block = Block::new(Service::AzureBySas).unwrap().with_secret(&read);
    meets(&block, Lies::Output, &["may not write there", "with the permissions racwdl"]);
}

#[test]
fn a_service_principal_with_another_secret_id_or_tenant() {
    let Some(block) = Block::new(Service::AzureByPrincipal) else { return };
    let id = block.text_of("client_id").to_owned();
    let nobody = "00000000-0000-4000-8000-000000000000";
    meets(
        &block.clone().with_secret("8Q~the-wrong-secret-of-it"),
        Lies::Source,
        &[&format!("service principal {id} of [store.lake] is not accepted"), "AADSTS7000215", "credential reset --id"],
    );
    meets(
        &block.clone().with("client_id", nobody),
        Lies::Source,
        &[&format!("service principal {nobody} of [store.lake] is not accepted"), "AADSTS700016", "correct client_id"],
    );
    meets(
        &block.with("tenant_id", nobody),
        Lies::Source,
        &["is not accepted", "AADSTS90002", "there is no such tenant: correct tenant_id in [store.lake]"],
    );
}

#[test]
fn a_container_that_is_not_there() {
    let Some(block) = Block::new(Service::AzureByKey) else { return };
    let url = block.url.replace("lake@", "nowhere@");
    let block = block.with_url(&url);
    for lies in [Lies::Source, Lies::Output] {
        meets(&block, lies, &["there is no container nowhere", "az storage container create --name nowhere"]);
    }
}

#[test]
fn a_host_that_is_not_there() {
    let Some(block) = Block::new(Service::AzureByPrincipal) else { return };
    let unknown = block.clone().with("endpoint", "https://limno-test.invalid/account");
    let told = ["nobody answers there, as there is no host limno-test.invalid", "nslookup limno-test.invalid"];
    meets(&unknown, Lies::Source, &told);
    let address = nobody();
    let silent = block.clone().with("endpoint", &format!("https://{address}/account")).with("retry_budget", "1s");
    meets(&silent, Lies::Source, &[&format!("nobody answers there: {address} takes no connection"), "firewalls"]);
    let host = block.text_of("endpoint").split('/').nth(2).unwrap().to_owned();
    meets(
        &block.without("ca_file"),
        Lies::Source,
        &[&format!("the certificate of {host} is not trusted"), "ca_file in the [store] block"],
    );
}

#[test]
fn keys_that_a_bucket_does_not_take() {
    let Some([read_id, read_secret]) = components(["LIMNO_TEST_S3_KEY_ID_READ", "LIMNO_TEST_S3_SECRET_READ"]) else {
        return;
    };
    let block = Block::new(Service::S3).unwrap();
    let id = block.text_of("access_key_id").to_owned();
    meets(
        &block.clone().with_secret("b7a1ffd3cc3d4a4fb0d3a1e9"),
        Lies::Source,
        &[&format!("access key {id} of [store.bucket] is not accepted"), "the secret is not that of this key"],
    );
    meets(
        &block.clone().with("access_key_id", "AKIA0000000000000000"),
        Lies::Source,
        &["access key AKIA0000000000000000 of [store.bucket] is not accepted", "there is no such key"],
    );
    meets(
        &block.with("access_key_id", &read_id).with_secret(&read_secret),
        Lies::Output,
        &["may not write there", "grant s3:GetObject, s3:PutObject and s3:DeleteObject on arn:aws:s3:::lake/*"],
    );
}

#[test]
fn a_bucket_that_is_not_there() {
    let Some(block) = Block::new(Service::S3) else { return };
    let block = block.with_url("s3://nowhere/");
    for lies in [Lies::Source, Lies::Output] {
        meets(&block, lies, &["there is no bucket nowhere", "aws s3 mb s3://nowhere"]);
    }
}

#[test]
fn a_bucket_without_conditional_writes_is_not_written() {
    let Some(block) = Block::new(Service::S3) else { return };
    let place = place_with(&block, Lies::Output);
    let text = std::fs::read_to_string(place.path("limno.toml")).unwrap();
    place.configure(&(text + "conditional_put = false\n"));
    // It is the configuration that is wrong, which a run tells by its code.
    for (command, code) in [(&["check", "--write"][..], 1), (&["run"], 2)] {
        place.limno(command).fails(code, &["two writers could lose each other's work", "conditional writes"]);
    }
    place.configure(&snapshot("other", "~/t", "~/others"));
    assert_eq!(place.row("SELECT count(*) AS n FROM other_profile_metrics WHERE column_name = 'x'")["n"], json!(1));
}
