//! How answers about users and roles look.

use kontiki_api::auth::Permission;
use kontiki_api::auth::permission::Type;
use kontiki_api::rpc::{
    AuthRoleAddResponse, AuthRoleGetResponse, AuthRoleListResponse, AuthUserGetResponse, AuthUserListResponse,
    ResponseHeader,
};
use prost::Message;

use super::gotext::quote;
use super::json::{Json, Object};
use super::keys::{OPEN, prefix_end};
use super::show::{self, Fields, Show, Text};

/// A change that was made: one sentence, and an answer that holds a header and no more.
pub struct Done {
    pub sentence: String,
    pub header: Option<ResponseHeader>,
}

/// A user with its roles.
pub struct UserShown {
    pub name: String,
    pub answer: AuthUserGetResponse,
}

/// A role with its permissions.
pub struct RoleShown {
    pub name: String,
    pub answer: AuthRoleGetResponse,
}

impl Show for Done {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        // All answers of this kind are the same on the wire.
        AuthRoleAddResponse { header: self.header }.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(&self.sentence);
    }

    fn json(&self) -> Json {
        show::answer(&self.header).into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
    }
}

impl Show for UserShown {
    const FIELDS: bool = false;
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.answer.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(format!("User: {}", self.name));
        let roles: String = self.answer.roles.iter().map(|role| format!(" {role}")).collect();
        text.line(format!("Roles:{roles}"));
    }

    fn json(&self) -> Json {
        show::answer(&self.answer.header).with_set("roles", self.answer.roles.as_slice()).into()
    }
}

impl Show for AuthUserListResponse {
    const FIELDS: bool = false;
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        self.users.iter().for_each(|user| text.line(user));
    }

    fn json(&self) -> Json {
        show::answer(&self.header).with_set("users", self.users.as_slice()).into()
    }
}

impl Show for AuthRoleListResponse {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        self.roles.iter().for_each(|role| text.line(role));
    }

    fn json(&self) -> Json {
        show::answer(&self.header).with_set("roles", self.roles.as_slice()).into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
        let roles: Vec<String> = self.roles.iter().map(|role| quote(role.as_bytes())).collect();
        lines.put("Roles", roles.join(" "));
    }
}

impl RoleShown {
    fn ranges(&self, text: &mut Text, title: &str, kind: Type) {
        text.line(title);
        let may = |permission: &&Permission| [kind, Type::Readwrite].contains(&permission.perm_type());
        self.answer.perm.iter().filter(may).for_each(|permission| text.line(range(permission)));
    }
}

/// A permission's key or range, indented.
fn range(permission: &Permission) -> String {
    let key = String::from_utf8_lossy(&permission.key);
    if permission.range_end.is_empty() {
        return format!("\t{key}");
    }
    let mut line = if permission.range_end == OPEN {
        format!("\t[{key}, <open ended>")
    } else {
        format!("\t[{key}, {})", String::from_utf8_lossy(&permission.range_end))
    };
    if !permission.key.is_empty() && prefix_end(&permission.key) == permission.range_end {
        line += &format!(" (prefix {key})");
    }
    line
}

impl Show for RoleShown {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.answer.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(format!("Role {}", self.name));
        self.ranges(text, "KV Read:", Type::Read);
        self.ranges(text, "KV Write:", Type::Write);
    }

    fn json(&self) -> Json {
        let permission = |permission: &Permission| {
            Object::new()
                .with_set("permType", permission.perm_type)
                .with_set("key", &permission.key)
                .with_set("range_end", &permission.range_end)
        };
        show::answer(&self.answer.header).with_set("perm", Json::list(&self.answer.perm, permission)).into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.answer.header);
        for permission in &self.answer.perm {
            lines.put("PermType", format_args!(" {}", permission.perm_type().as_str_name()));
            lines.text("Key", &permission.key);
            lines.text("RangeEnd", &permission.range_end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::show::Format;
    use super::super::show::testing::{header, render};
    use super::*;

    const HEADER: &str = r#""header":{"cluster_id":1,"member_id":2,"revision":6,"raft_term":3}"#;

    fn permission(kind: Type, key: &'static str, end: &'static str) -> Permission {
        Permission { perm_type: kind as i32, key: key.into(), range_end: end.into() }
    }

    #[test]
    fn a_role() {
        let perm = vec![
            permission(Type::Readwrite, "boat/", "boat0"),
            permission(Type::Read, "crew", ""),
            permission(Type::Write, "log", "\0"),
            permission(Type::Write, "a", "m"),
        ];
        let role = RoleShown { name: "captain".into(), answer: AuthRoleGetResponse { header: header(6), perm } };
        assert_eq!(
            render(Format::Simple, &role),
            "Role captain\nKV Read:\n\t[boat/, boat0) (prefix boat/)\n\tcrew\nKV Write:\n\
             \t[boat/, boat0) (prefix boat/)\n\t[log, <open ended>\n\t[a, m)\n"
        );
        assert!(render(Format::Json, &role).starts_with(&format!(
            "{{{HEADER},\"perm\":[{{\"permType\":2,\"key\":\"Ym9hdC8=\",\"range_end\":\"Ym9hdDA=\"}},{{\"key\":\"Y3Jldw==\"}},"
        )));
        let fields = render(Format::Fields, &role);
        assert!(
            fields.contains("\"PermType\" :  READWRITE\n\"Key\" : \"boat/\"\n\"RangeEnd\" : \"boat0\"\n"),
            "{fields}"
        );
    }

    #[test]
    fn users() {
        let answer = AuthUserGetResponse { header: header(6), roles: vec!["a".into(), "b".into()] };
        let user = UserShown { name: "u".into(), answer };
        assert_eq!(render(Format::Simple, &user), "User: u\nRoles: a b\n");
        assert_eq!(render(Format::Json, &user), format!("{{{HEADER},\"roles\":[\"a\",\"b\"]}}\n"));
        let list = AuthUserListResponse { header: header(6), users: vec!["u".into(), "v".into()] };
        assert_eq!(render(Format::Simple, &list), "u\nv\n");
        assert_eq!(render(Format::Json, &list), format!("{{{HEADER},\"users\":[\"u\",\"v\"]}}\n"));
        let list = AuthRoleListResponse { header: header(6), roles: vec!["u".into(), "v".into()] };
        assert!(render(Format::Fields, &list).ends_with("\"Roles\" : \"u\" \"v\"\n"));
    }
}
