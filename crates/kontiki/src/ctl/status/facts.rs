//! What the members say, gathered and not yet judged.

use futures_util::future::join_all;
use kontiki_api::rpc::{AlarmMember, Member, MemberListRequest, StatusRequest, StatusResponse};

use super::super::alarm;
use super::super::client::{Connection, Context};
use super::super::dial::Address;

/// All that was found out.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The members that the cluster knows, or why nobody would tell.
    pub members: Result<Vec<Member>, String>,
    /// One answer for each address that was asked.
    pub answers: Vec<Answer>,
    /// Alarms that are on, or why nobody would tell.
    pub alarms: Result<Vec<AlarmMember>, String>,
}

/// What came from one address.
#[derive(Clone, Debug)]
pub struct Answer {
    pub endpoint: String,
    pub status: Result<StatusResponse, String>,
}

/// Asks the endpoints given, and all that the members listen at.
pub async fn gather(context: &Context) -> Facts {
    let given = &context.settings.endpoints;
    // As the member at hand knows it: that answer needs no leader.
    let request = MemberListRequest { linearizable: false };
    let list = async |member: &Connection| Ok(member.cluster().member_list(request).await?.into_inner().members);
    let mut members = Err("no endpoint is given".to_string());
    for endpoint in given {
        members = context.ask_endpoint(endpoint, list).await;
        if members.is_ok() {
            break;
        }
    }
    let urls = members.iter().flatten().flat_map(|member| &member.client_urls);
    let endpoints = different(given.iter().chain(urls));
    let answers = join_all(endpoints.iter().map(|endpoint| status_of(context, endpoint))).await;
    let mut alarms = Err("no member answers".to_string());
    for answer in answers.iter().filter(|answer| answer.status.is_ok()) {
        alarms = context.ask_endpoint(&answer.endpoint, alarm::list).await.map(|answer| answer.alarms);
        if alarms.is_ok() {
            break;
        }
    }
    Facts { members, answers, alarms }
}

async fn status_of(context: &Context, endpoint: &str) -> Answer {
    let ask = async |member: &Connection| Ok(member.maintenance().status(StatusRequest {}).await?.into_inner());
    Answer { endpoint: endpoint.to_string(), status: context.ask_endpoint(endpoint, ask).await }
}

/// Each place once, however it is written.
fn different<'a>(endpoints: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut places = Vec::new();
    let mut kept = Vec::new();
    for endpoint in endpoints {
        let place = Address::parse(endpoint).map(|address| address.place);
        if !places.contains(&place) || place.is_err() {
            places.push(place);
            kept.push(endpoint.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_asked_once() {
        let endpoints = ["127.0.0.1:1", "http://127.0.0.1:1", "https://127.0.0.1:2/", "127.0.0.1:2"].map(String::from);
        assert_eq!(different(endpoints.iter()), ["127.0.0.1:1", "https://127.0.0.1:2/"]);
    }
}
