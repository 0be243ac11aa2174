use super::*;

#[test]
fn a_secret_shows_nowhere() {
    let secret = Secret::new("p4ss/w0rd+");
    assert_eq!(format!("{secret:?}"), "***");
    assert_eq!(redact("a p4ss/w0rd+ and p4ss%2Fw0rd%2B"), "a *** and ***");
    assert_eq!(secret.expose(), "p4ss/w0rd+");
}

#[test]
fn a_secret_is_struck_out_in_every_spelling() {
    let secret = Secret::new("Qk/9+e \"x\\y\"=é&z");
    let debugged = format!("{:?}", secret.expose());
    for spelled in [
        secret.expose(),
        // URLs: in full, in small letters, only what must be, forms, twice.
        "Qk%2F9%2Be%20%22x%5Cy%22%3D%C3%A9%26z",
        "Qk%2f9%2be%20%22x%5cy%22%3d%c3%a9%26z",
        "Qk/9+e%20%22x\\y%22=%C3%A9&z",
        "Qk%2F9%2Be+%22x%5Cy%22%3D%C3%A9%26z",
        "Qk%252F9%252Be%2520%2522x%255Cy%2522%253D%25C3%25A9%2526z",
        // JSON, Rust, HTML.
        r#"Qk/9+e \"x\\y\"=é&z"#,
        r#"Qk\/9\u002be \"x\\y\"\u003d\u00e9\u0026z"#,
        r#"Qk/9+e \\\"x\\\\y\\\"=é&z"#,
        &debugged[1..debugged.len() - 1],
        "Qk&#x2f;9+e &quot;x\\y&quot;=é&amp;z",
        // Base64, with a user before it, and without its padding.
        "UWsvOStlICJ4XHkiPcOpJno=",
        "UWsvOStlICJ4XHkiPcOpJno",
    ] {
        assert_eq!(redact(&format!("a {spelled} b")), "a *** b", "{spelled}");
    }
    let basic = redact("user: bGltbm86UWsvOStlICJ4XHkiPcOpJno= end");
    assert!(basic.contains("***") && !basic.contains("vOStlICJ4XHkiPcOpJ"), "{basic}");
}

#[test]
fn of_a_signature_its_value_alone_goes_and_the_rest_tells_what_it_allows() {
    let _sas = Secret::new("?sv=2024-11-04&sr=c&sp=rl&se=2026-01-01T00%3A00%3A00Z&sig=Zm9v%2BYmFy%2Fxyz%3D");
    let shown =
        redact("the token ?sv=2024-11-04&sr=c&sp=rl&se=2026-01-01T00%3A00%3A00Z&sig=Zm9v%2BYmFy%2Fxyz%3D fails");
    assert_eq!(shown, "the token *** fails");
    // In another order, decoded, in small letters, in base64.
    for spelled in ["Zm9v+YmFy/xyz=", "Zm9v%2bYmFy%2fxyz%3d", "Wm05ditZbUZ5L3h5ej0"] {
        assert_eq!(redact(&format!("sp=rl sv=2024-11-04 x={spelled} y")), "sp=rl sv=2024-11-04 x=*** y", "{spelled}");
    }
}

#[test]
fn of_a_key_file_the_private_key_goes() {
    let _key = Secret::new(
        r#"{
  "client_email": "limno@project.iam.gserviceaccount.com",
  "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvAIBADANBgkqhkiG\n9w0BAQEFAASCBKYwggSi\n-----END PRIVATE KEY-----\n"
}"#,
    );
    for (text, shown) in [
        ("MIIEvAIBADANBgkqhkiG\n9w0BAQEFAASCBKYwggSi", "***\n***"),
        (r"key MIIEvAIBADANBgkqhkiG\n9w0BAQEFAASCBKYwggSi\n", r"key ***\n***\n"),
        ("MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSi", "***"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEvAIBADANBgkqhkiG\n9w0BAQEFAASCBKYwggSi\n-----END PRIVATE KEY-----\n", "***"),
        ("limno@project.iam.gserviceaccount.com", "limno@project.iam.gserviceaccount.com"),
    ] {
        assert_eq!(redact(text), shown);
    }
}

#[test]
fn secrets_that_overlap_go_as_a_whole() {
    let _secrets = ["overlap-ab-1", "ab-1-and-more"].map(Secret::new);
    assert_eq!(redact("x overlap-ab-1-and-more y"), "x *** y");
    assert_eq!(redact("overlap-ab-1overlap-ab-1"), "******");
}

#[test]
fn what_is_lent_is_remembered_as_long_as_it_is_held() {
    let (first, second) = (Lent::new("l3nt/for+now"), Lent::new("l3nt/for+now"));
    assert_eq!(format!("{first:?}"), "***");
    assert_eq!(redact("a l3nt/for+now, l3nt%2ffor%2Bnow, bDNudC9mb3Irbm93"), "a ***, ***, ***");
    drop(first);
    assert_eq!(redact(second.expose()), "***", "the other is still held");
    drop(second);
    assert_eq!(redact("l3nt/for+now"), "l3nt/for+now");
}

#[test]
fn what_is_lent_and_ours_stays_ours() {
    let _ours = Secret::new("ours-and-lent");
    drop(Lent::new("ours-and-lent"));
    assert_eq!(redact("ours-and-lent"), "***");
}

#[test]
fn text_without_secrets_is_not_copied() {
    let _secret = Secret::new("not-in-there");
    for text in ["nothing to hide", "100 % of \\ & a %2F", ""] {
        assert!(matches!(redact(text), Cow::Borrowed(_)), "{text}");
    }
}

mod laws {
    use proptest::prelude::*;

    use super::*;

    /// A character as a URL, JSON, HTML or nobody writes it.
    fn escaped(char: char, how: u8) -> String {
        match how {
            0 => char.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
            1 => char.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect(),
            2 => char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            3 => format!("\\u{{{:x}}}", u32::from(char)),
            4 => format!("&#{};", u32::from(char)),
            _ => char.to_string(),
        }
    }

    proptest! {
        // Each secret is another search to be made.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_way_to_escape_hides_a_secret(secret in "[A-Za-z0-9/+=é😀.]{8,40}", how in 0_u8..5, which in any::<u64>()) {
            let lent = Lent::new(secret.as_str());
            let spelled: String = secret.chars().enumerate()
                .map(|(at, char)| escaped(char, if which >> (at % 64) & 1 == 1 { how } else { 9 }))
                .collect();
            let text = format!("<{spelled}>");
            prop_assert_eq!(redact(&text), "<***>");
            drop(lent);
        }

        #[test]
        fn no_text_makes_it_fail(text in "\\PC{0,60}", tail in "[%&#;xu{}0-9a-f\\\\]{0,30}") {
            let _secret = Secret::new("some-secret-0f");
            let text = format!("{text}some-secret-0f{tail}");
            prop_assert!(!redact(&text).contains("some-secret-0f"));
        }
    }
}
