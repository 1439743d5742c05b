//! What `--auth-token`, `--auth-token-ttl` and `--bcrypt-cost` say.

use std::time::Duration;

use super::{ConfigError, value_error};
use crate::flags::Settings;
use crate::flags::value::duration_of;

/// Costs that bcrypt knows; etcd falls back to its own default outside them.
const BCRYPT_COSTS: std::ops::RangeInclusive<u64> = 4..=31;
const BCRYPT_COST: u32 = 10;

/// How users are recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    /// The kind of tokens, as the flag has it: `simple`, or `jwt,pub-key=…,priv-key=…,sign-method=…,ttl=…`.
    pub token: String,
    /// How long a simple token lives unused.
    pub token_ttl: Duration,
    /// Cost of hashing a password.
    pub bcrypt_cost: u32,
}

/// The algorithms of etcd.
const SIGN_METHODS: &[&str] = &[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "EdDSA",
];

impl AuthSettings {
    /// Reads the flags.
    pub fn settle(settings: &Settings, warnings: &mut Vec<String>) -> Result<AuthSettings, ConfigError> {
        let cost = settings.unsigned("bcrypt-cost");
        let bcrypt_cost = if BCRYPT_COSTS.contains(&cost) {
            u32::try_from(cost).expect("it lies in the range")
        } else {
            warnings.push(format!("--bcrypt-cost: {cost} is not between 4 and 31: {BCRYPT_COST} is used instead"));
            BCRYPT_COST
        };
        let ttl = super::bounded(settings, "auth-token-ttl", 0, u64::from(u32::MAX))?;
        Ok(AuthSettings {
            token: token(settings.text("auth-token"))?,
            token_ttl: Duration::from_secs(if ttl == 0 { 300 } else { ttl }), // as etcd: zero is its default
            bcrypt_cost,
        })
    }
}

/// Looks whether tokens are described so that they can be made, before anything is opened.
fn token(text: &str) -> Result<String, ConfigError> {
    let flag = "auth-token";
    let mut parts = text.split(',').map(str::trim);
    match parts.next().unwrap_or_default() {
        "simple" | "" => return Ok("simple".to_owned()),
        "jwt" => {}
        other => return Err(value_error(flag, format!("{other:?} is not known: it must be simple, or jwt,…"))),
    }
    let (mut sign_method, mut has_key) = ("", false);
    for part in parts.filter(|part| !part.is_empty()) {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| value_error(flag, format!("{part:?} is not of the form option=value")))?;
        match key {
            "sign-method" => sign_method = value,
            "pub-key" | "priv-key" => has_key = true,
            "ttl" => drop(duration_of(value).map_err(|expected| value_error(flag, format!("ttl: {expected}")))?),
            other => {
                let problem =
                    format!("option {other:?} is not known: jwt takes pub-key, priv-key, sign-method and ttl");
                return Err(value_error(flag, problem));
            }
        }
    }
    if !SIGN_METHODS.contains(&sign_method) {
        let known = SIGN_METHODS.join(", ");
        return Err(value_error(flag, format!("sign-method {sign_method:?} is not known: it must be one of {known}")));
    }
    if !has_key {
        return Err(value_error(flag, "jwt needs a key: give pub-key, priv-key, or both"));
    }
    Ok(text.to_owned())
}
