#![allow(clippy::unwrap_used)]
use std::io::Write;

use super::*;

fn key_file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

fn shared(secret: &[u8], rest: &str) -> Jwt {
    let file = key_file(secret);
    Jwt::new(&format!("sign-method=HS256,priv-key={}{rest}", file.path().display())).unwrap()
}

fn alice() -> Subject {
    Subject { user: "alice".into(), revision: 7 }
}

#[test]
fn a_signed_token_comes_back_as_its_user() {
    let jwt = shared(b"a secret that members share, long", "");
    assert_eq!(jwt.check(&jwt.sign(&alice()).unwrap()), Ok(alice()));
    let other = shared(b"another secret, just as long as it", "");
    assert_eq!(other.check(&jwt.sign(&alice()).unwrap()), Err(OperationError::InvalidAuthToken));
}

/// Of keys that are here for this test, and protect nothing.
#[test]
fn each_kind_of_key_signs_and_checks() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/jwt/testdata");
    let with = |method: &str, key: &str, private: bool| {
        let private = if private { format!(",priv-key={folder}/{key}.key") } else { String::new() };
        Jwt::new(&format!("sign-method={method},pub-key={folder}/{key}.pub{private},ttl=10m")).unwrap()
    };
    for (method, key) in [("RS256", "rsa"), ("RS512", "rsa"), ("PS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")] {
        let token = with(method, key, true).sign(&alice()).unwrap();
        assert_eq!(with(method, key, false).check(&token), Ok(alice()), "{method}");
        let error = with(method, key, false).sign(&alice()).unwrap_err();
        assert_eq!(error, "token signing attempted with verify-only key");
    }
    // A public key is no secret: a token that is signed with it as one is nobody's.
    let public = std::fs::read(format!("{folder}/rsa.pub")).unwrap();
    let claims = Claims { username: "root".into(), revision: 7, exp: u64::MAX / 2 };
    let key = EncodingKey::from_secret(&public);
    let confused = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    assert_eq!(with("RS256", "rsa", false).check(&confused), Err(OperationError::InvalidAuthToken));
}

#[test]
fn the_algorithm_is_not_a_tokens_choice() {
    let jwt = shared(b"a secret that members share, long", "");
    let claims = Claims { username: "root".into(), revision: 7, exp: u64::MAX / 2 };
    let key = EncodingKey::from_secret(b"a secret that members share, long");
    let stronger = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims, &key).unwrap();
    assert_eq!(jwt.check(&stronger), Err(OperationError::InvalidAuthToken));
    // {"alg":"none"} and the claims of root, unsigned
    let none = "eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6InJvb3QiLCJyZXZpc2lvbiI6NywiZXhwIjo5OTk5OTk5OTk5OX0.";
    assert_eq!(jwt.check(none), Err(OperationError::InvalidAuthToken));
    for bad in ["", "a.b.c", "....", "\u{0}"] {
        assert_eq!(jwt.check(bad), Err(OperationError::InvalidAuthToken));
    }
}

#[test]
fn a_token_ends() {
    let jwt = shared(b"a secret that members share, long", "");
    let over = Claims { username: "alice".into(), revision: 7, exp: time_of_day_ms() / 1000 - 1 };
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &over, jwt.sign.as_ref().unwrap()).unwrap();
    assert_eq!(jwt.check(&token), Err(OperationError::InvalidAuthToken));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let error = |settings: &str| Jwt::new(settings).unwrap_err();
    assert!(error("pub-key=/nowhere").contains("/nowhere"));
    assert!(error("sign-method=none").contains("no sign-method `none`"));
    assert!(error("").contains("sign-method is missing"));
    assert!(error("sign-method=RS256").contains("pub-key is missing"));
    assert!(error("sign-method=HS256").contains("priv-key is missing"));
    assert!(error("colour=red").contains("`colour`"));
    let file = key_file(b"no key");
    assert!(error(&format!("sign-method=RS256,pub-key={}", file.path().display())).contains("PEM"));
    assert!(error("ttl=soon").contains("soon"));
}

#[test]
fn times_are_read_as_go_writes_them() {
    for (text, seconds) in [("5m", 300), ("1h30m", 5400), ("90s", 90)] {
        assert_eq!(duration(text), Some(Duration::from_secs(seconds)));
    }
    for bad in ["", "5", "m", "5x", "0s", "-5m"] {
        assert_eq!(duration(bad), None, "{bad}");
    }
}
