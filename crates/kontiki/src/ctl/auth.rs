//! `auth enable`, `disable` and `status`.

use clap::Subcommand;
use kontiki_api::rpc::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthStatusRequest, AuthStatusResponse,
    AuthUserGrantRoleRequest,
};
use prost::Message;

use super::client::{Connection, Context};
use super::failure::Failure;
use super::json::Json;
use super::show::{self, Show, Text, print};

/// What a server says whose user root lacks the role root.
const NO_ROOT_ROLE: &str = "etcdserver: root user does not have root role";
/// What it says about a role that is there already.
const ROLE_EXISTS: &str = "etcdserver: role name already exists";
/// The name of the user and of the role that may do everything.
const ROOT: &str = "root";

/// Commands about the check of who may do what.
#[derive(Subcommand, Debug)]
pub enum AuthCommand {
    /// Turn the check on; a user root must exist.
    Enable,
    /// Turn the check off.
    Disable,
    /// Tell whether the check is on.
    Status,
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: AuthCommand) -> Result<(), Failure> {
    match command {
        AuthCommand::Enable => {
            context.write(enable).await?;
            print(b"Authentication Enabled\n")
        }
        AuthCommand::Disable => {
            context.write(async |to| Ok(to.auth().auth_disable(AuthDisableRequest {}).await?.into_inner())).await?;
            print(b"Authentication Disabled\n")
        }
        AuthCommand::Status => {
            let printer = context.printer::<AuthStatusResponse>()?;
            let request = AuthStatusRequest {};
            let answer = context.read(async |from| Ok(from.auth().auth_status(request).await?.into_inner())).await?;
            printer.print(&answer)
        }
    }
}

/// Enables; gives root its role first where that is all that is missing.
pub async fn enable(to: &Connection) -> Result<(), tonic::Status> {
    let mut client = to.auth();
    match client.auth_enable(AuthEnableRequest {}).await {
        Err(status) if status.message() == NO_ROOT_ROLE => {}
        other => return other.map(|_| ()),
    }
    match client.role_add(AuthRoleAddRequest { name: ROOT.into() }).await {
        Err(status) if status.message() != ROLE_EXISTS => return Err(status),
        _ => {}
    }
    client.user_grant_role(AuthUserGrantRoleRequest { user: ROOT.into(), role: ROOT.into() }).await?;
    client.auth_enable(AuthEnableRequest {}).await.map(|_| ())
}

impl Show for AuthStatusResponse {
    const FIELDS: bool = false;
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(format!("Authentication Status: {}", self.enabled));
        text.line(format!("AuthRevision: {}", self.auth_revision));
    }

    fn json(&self) -> Json {
        show::answer(&self.header).with_set("enabled", self.enabled).with_set("authRevision", self.auth_revision).into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::show::Format;
    use super::super::show::testing::{header, render};
    use super::*;

    #[test]
    fn output() {
        let answer = AuthStatusResponse { header: header(6), enabled: true, auth_revision: 4 };
        assert_eq!(render(Format::Simple, &answer), "Authentication Status: true\nAuthRevision: 4\n");
        assert_eq!(
            render(Format::Json, &answer),
            "{\"header\":{\"cluster_id\":1,\"member_id\":2,\"revision\":6,\"raft_term\":3},\"enabled\":true,\
             \"authRevision\":4}\n"
        );
    }
}
