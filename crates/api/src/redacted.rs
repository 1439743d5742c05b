//! Messages that carry passwords or tokens, as they show themselves: without.

use std::fmt::{Debug, Formatter, Result};

use crate::auth::User;
use crate::rpc::{AuthUserAddRequest, AuthUserChangePasswordRequest, AuthenticateRequest, AuthenticateResponse};

impl Debug for User {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("User").field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}

impl Debug for AuthenticateRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("AuthenticateRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Debug for AuthenticateResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("AuthenticateResponse").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Debug for AuthUserAddRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut shown = f.debug_struct("AuthUserAddRequest");
        shown.field("name", &self.name).field("options", &self.options).finish_non_exhaustive()
    }
}

impl Debug for AuthUserChangePasswordRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("AuthUserChangePasswordRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVE-2021-28235: passwords that a debugging aid shows.
    #[test]
    fn cve_2021_28235_messages_show_no_secrets() {
        let (name, password, hashed_password) = ("alice".to_owned(), "secret".to_owned(), "secret".to_owned());
        let add = AuthUserAddRequest { name: name.clone(), password, hashed_password, options: None };
        let change = AuthUserChangePasswordRequest {
            name: name.clone(),
            password: "secret".into(),
            hashed_password: "secret".into(),
        };
        let log_in = AuthenticateRequest { name, password: "secret".into() };
        let token = AuthenticateResponse { header: None, token: "secret".into() };
        let user = User { password: "secret".into(), ..User::default() };
        for shown in [
            format!("{add:?}"),
            format!("{change:?}"),
            format!("{log_in:?}"),
            format!("{token:?}"),
            format!("{user:?}"),
        ] {
            assert!(!shown.contains("secret") && shown.contains(".."), "{shown}");
        }
    }
}
