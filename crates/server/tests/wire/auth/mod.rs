//! Users, roles, tokens: what is let in and what is not, through gRPC and the gateway alike.

mod closed;
mod keys;
mod secrets;
mod users;

use kontiki_api::auth::{Permission, UserAddOptions, permission::Type};
use kontiki_api::rpc::auth_client::AuthClient;
use kontiki_api::rpc::{self, AuthenticateRequest};
use tonic::Request;
use tonic::transport::Channel;

use crate::harness::{Answer, Member, http};

/// Passwords that would be noticed anywhere.
pub const ROOT_PASSWORD: &str = "root-pass-Zq8vXw2k";
pub const ALICE_PASSWORD: &str = "alice-pass-7hTn4LpR";

/// A request with a token.
pub fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("token", token.parse().unwrap());
    request
}

impl Member {
    pub fn auth(&self) -> AuthClient<Channel> {
        AuthClient::new(self.channel())
    }

    /// Logs in.
    pub async fn token(&self, name: &str, password: &str) -> String {
        let request = AuthenticateRequest { name: name.into(), password: password.into() };
        self.auth().authenticate(request).await.unwrap().into_inner().token
    }

    /// Asks the gateway with a token.
    pub async fn post_as(&self, token: &str, path: &str, body: &str) -> Answer {
        http(self.address, "POST", path, &format!("Authorization: {token}\r\n"), body).await
    }
}

pub fn user_add(name: &str, password: &str) -> rpc::AuthUserAddRequest {
    rpc::AuthUserAddRequest { name: name.into(), password: password.into(), ..rpc::AuthUserAddRequest::default() }
}

pub fn user_without_password(name: &str) -> rpc::AuthUserAddRequest {
    rpc::AuthUserAddRequest { options: Some(UserAddOptions { no_password: true }), ..user_add(name, "") }
}

pub fn grant_role(user: &str, role: &str) -> rpc::AuthUserGrantRoleRequest {
    rpc::AuthUserGrantRoleRequest { user: user.into(), role: role.into() }
}

pub fn permit(role: &str, kind: Type, key: &str, range_end: &str) -> rpc::AuthRoleGrantPermissionRequest {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    let perm = Some(Permission { perm_type: kind as i32, key, range_end });
    rpc::AuthRoleGrantPermissionRequest { name: role.into(), perm }
}

/// Root, and alice, who may read `a` to `c` and write `a` and `b`; authentication is on. Gives root's token and alice's.
pub async fn closed(member: &Member) -> (String, String) {
    let mut auth = member.auth();
    auth.user_add(user_add("root", ROOT_PASSWORD)).await.unwrap();
    auth.role_add(rpc::AuthRoleAddRequest { name: "root".into() }).await.unwrap();
    auth.user_grant_role(grant_role("root", "root")).await.unwrap();
    auth.user_add(user_add("alice", ALICE_PASSWORD)).await.unwrap();
    auth.role_add(rpc::AuthRoleAddRequest { name: "some".into() }).await.unwrap();
    auth.role_grant_permission(permit("some", Type::Read, "a", "c")).await.unwrap();
    auth.role_grant_permission(permit("some", Type::Write, "a", "")).await.unwrap();
    auth.role_grant_permission(permit("some", Type::Write, "b", "")).await.unwrap();
    auth.user_grant_role(grant_role("alice", "some")).await.unwrap();
    auth.auth_enable(rpc::AuthEnableRequest {}).await.unwrap();
    (member.token("root", ROOT_PASSWORD).await, member.token("alice", ALICE_PASSWORD).await)
}
