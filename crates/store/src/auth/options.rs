//! How callers are recognized: etcd's flags.

use std::time::Duration;

use super::jwt::Jwt;
use super::passwords::Passwords;
use crate::error::StartError;
use crate::surroundings::Surroundings;

/// bcrypt's limits of its cost, and etcd's default.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;
const COST_DEFAULT: u32 = 10;

/// Options of authentication, after etcd's flags.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// `--auth-token`: `simple`, or `jwt,sign-method=…,pub-key=…,priv-key=…,ttl=…`.
    pub token: String,
    /// `--auth-token-ttl`: how long a simple token lives unused.
    pub token_ttl: Duration,
    /// `--bcrypt-cost`.
    pub bcrypt_cost: u32,
}

impl Default for AuthOptions {
    fn default() -> AuthOptions {
        AuthOptions { token: "simple".into(), token_ttl: Duration::from_secs(300), bcrypt_cost: COST_DEFAULT }
    }
}

/// Which tokens are given out and taken.
#[derive(Debug)]
pub(crate) enum Authority {
    Simple,
    Jwt(Box<Jwt>),
}

/// The options, made ready.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) authority: Authority,
    pub(crate) passwords: Passwords,
}

impl Settings {
    /// # Errors
    /// Where `--auth-token` makes no sense, or its keys cannot be read.
    pub(crate) fn new(options: &AuthOptions, surroundings: &Surroundings) -> Result<Settings, StartError> {
        let wrong = |why: String| StartError::Configuration(format!("--auth-token={}: {why}", options.token));
        let authority = match options.token.split_once(',').unwrap_or((&options.token, "")) {
            ("simple", _) => Authority::Simple,
            ("jwt", settings) => Authority::Jwt(Box::new(Jwt::new(settings).map_err(wrong)?)),
            ("", _) => return Err(wrong("say `simple` or `jwt,sign-method=…`".into())),
            (other, _) => return Err(wrong(format!("there is no kind of token `{other}`; say `simple` or `jwt,…`"))),
        };
        let cost = if COSTS.contains(&options.bcrypt_cost) {
            options.bcrypt_cost
        } else {
            tracing::warn!(given = options.bcrypt_cost, used = COST_DEFAULT, "--bcrypt-cost must be from 4 to 31");
            COST_DEFAULT
        };
        Ok(Settings { authority, passwords: Passwords::new(cost, surroundings) })
    }
}
