//! Tokens that are signed instead of kept. The algorithm is the one of the options: what a token says of its own does not
//! count.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use kontiki_kv::{OperationError, Subject};
use kontiki_world::time_of_day_ms;
use serde::{Deserialize, Serialize};

/// etcd's default.
const TTL_DEFAULT: Duration = Duration::from_secs(300);

/// What stands in a token.
#[derive(Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: u64,
    exp: u64,
}

/// Signs and checks.
pub(crate) struct Jwt {
    algorithm: Algorithm,
    verify: DecodingKey,
    /// None where this member only checks.
    sign: Option<EncodingKey>,
    ttl: Duration,
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt").field("algorithm", &self.algorithm).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Jwt {
    /// Reads `sign-method=…,pub-key=…,priv-key=…,ttl=…`.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub(crate) fn new(settings: &str) -> Result<Jwt, String> {
        let (mut method, mut public, mut private, mut ttl) = (None, None, None, TTL_DEFAULT);
        for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
            let (name, value) =
                setting.split_once('=').ok_or_else(|| format!("`{setting}` is not of the form name=value"))?;
            match name {
                "sign-method" => method = Some(algorithm(value)?),
                "pub-key" => public = Some(read(value)?),
                "priv-key" => private = Some(read(value)?),
                "ttl" => ttl = duration(value).ok_or_else(|| format!("`{value}` is no time; write it like 5m"))?,
                other => return Err(format!("there is no setting `{other}`")),
            }
        }
        let algorithm = method.ok_or("sign-method is missing")?;
        let sign = private.as_deref().map(|key| signing_key(algorithm, key)).transpose()?;
        let verify = match (is_symmetric(algorithm), &private, &public) {
            (true, Some(secret), _) => DecodingKey::from_secret(secret),
            (true, None, _) => return Err("priv-key is missing: the secret that members share".into()),
            (false, _, Some(public)) => verifying_key(algorithm, public)?,
            (false, _, None) => return Err("pub-key is missing: tokens could not be checked".into()),
        };
        Ok(Jwt { algorithm, verify, sign, ttl })
    }

    /// A token for a user who was recognized.
    ///
    /// # Errors
    /// Where this member only checks.
    pub(crate) fn sign(&self, subject: &Subject) -> Result<String, String> {
        let key = self.sign.as_ref().ok_or("token signing attempted with verify-only key")?;
        let exp = time_of_day_ms() / 1000 + self.ttl.as_secs();
        let claims = Claims { username: subject.user.to_string(), revision: subject.revision, exp };
        jsonwebtoken::encode(&Header::new(self.algorithm), &claims, key).map_err(|error| error.to_string())
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    /// `InvalidAuthToken`, whatever is wrong with it.
    pub(crate) fn check(&self, token: &str) -> Result<Subject, OperationError> {
        let mut rules = Validation::new(self.algorithm); // this one only, and an end
        rules.leeway = 0;
        let invalid = |_| OperationError::InvalidAuthToken;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.verify, &rules).map_err(invalid)?.claims;
        if claims.username.is_empty() {
            return Err(OperationError::InvalidAuthToken);
        }
        Ok(Subject { user: claims.username.into(), revision: claims.revision })
    }
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    name.parse().map_err(|_| format!("there is no sign-method `{name}`; say one like RS256, ES256, EdDSA or HS256"))
}

fn is_symmetric(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(Path::new(path)).map_err(|error| format!("cannot read the key {path}: {error}"))
}

fn signing_key(algorithm: Algorithm, key: &[u8]) -> Result<EncodingKey, String> {
    let read = match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Ok(EncodingKey::from_secret(key)),
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(key),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(key),
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => EncodingKey::from_rsa_pem(key),
    };
    read.map_err(|error| format!("priv-key is no private key for {algorithm:?} in PEM (PKCS#8): {error}"))
}

fn verifying_key(algorithm: Algorithm, key: &[u8]) -> Result<DecodingKey, String> {
    let read = match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Ok(DecodingKey::from_secret(key)),
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(key),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(key),
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => DecodingKey::from_rsa_pem(key),
    };
    read.map_err(|error| format!("pub-key is no public key for {algorithm:?} in PEM: {error}"))
}

/// A time as Go writes it, in whole units: `1h30m`, `300s`.
fn duration(text: &str) -> Option<Duration> {
    let (mut total, mut number) = (Duration::ZERO, None::<u32>);
    for letter in text.chars() {
        if let Some(digit) = letter.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
            continue;
        }
        let unit = match letter {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(Duration::from_secs(unit).checked_mul(number.take()?)?)?;
    }
    (number.is_none() && !total.is_zero()).then_some(total)
}

#[cfg(test)]
mod tests;
