//! `alarm list` and `alarm disarm`.

use clap::Subcommand;
use kontiki_api::rpc::alarm_request::AlarmAction;
use kontiki_api::rpc::{AlarmRequest, AlarmResponse, AlarmType};
use prost::Message;

use super::client::{Connection, Context};
use super::failure::Failure;
use super::json::{Json, Object};
use super::show::{self, Fields, Show, Text};

/// Commands about alarms.
#[derive(Subcommand, Debug)]
pub enum AlarmCommand {
    /// List alarms that are on.
    List,
    /// Turn all alarms off.
    Disarm,
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: AlarmCommand) -> Result<(), Failure> {
    let printer = context.printer::<AlarmResponse>()?;
    let listed = context.read(list).await?;
    if matches!(command, AlarmCommand::List) {
        return printer.print(&listed);
    }
    let mut disarmed = AlarmResponse::default();
    for alarm in listed.alarms {
        let request =
            AlarmRequest { action: AlarmAction::Deactivate as i32, member_id: alarm.member_id, alarm: alarm.alarm };
        let answer = context.write(async |to| Ok(to.maintenance().alarm(request).await?.into_inner())).await?;
        disarmed.alarms.extend(answer.alarms);
    }
    printer.print(&disarmed)
}

/// Asks a member for all alarms.
pub async fn list(from: &Connection) -> Result<AlarmResponse, tonic::Status> {
    let request = AlarmRequest { action: AlarmAction::Get as i32, member_id: 0, alarm: AlarmType::None as i32 };
    Ok(from.maintenance().alarm(request).await?.into_inner())
}

impl Show for AlarmResponse {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        for alarm in &self.alarms {
            text.line(format!("memberID:{} alarm:{} ", alarm.member_id, alarm.alarm().as_str_name()));
        }
    }

    fn json(&self) -> Json {
        let alarms = Json::list(&self.alarms, |alarm| {
            Object::new().with_set("memberID", alarm.member_id).with_set("alarm", alarm.alarm)
        });
        show::answer(&self.header).with_set("alarms", alarms).into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
        for alarm in &self.alarms {
            lines.put("MemberID", alarm.member_id);
            lines.put("AlarmType", alarm.alarm().as_str_name());
            lines.gap();
        }
    }
}

#[cfg(test)]
mod tests {
    use kontiki_api::rpc::AlarmMember;

    use super::super::show::Format;
    use super::super::show::testing::render;
    use super::*;

    #[test]
    fn output() {
        let alarms = vec![AlarmMember { member_id: 5, alarm: AlarmType::Nospace as i32 }];
        let answer = AlarmResponse { header: None, alarms };
        assert_eq!(render(Format::Simple, &answer), "memberID:5 alarm:NOSPACE \n");
        assert_eq!(render(Format::Json, &answer), "{\"alarms\":[{\"memberID\":5,\"alarm\":1}]}\n");
        assert_eq!(render(Format::Json, &AlarmResponse::default()), "{}\n");
    }
}
