//! Reads of many keys: now and in the past, in every order and with every limit.

use std::time::Duration;

use kontiki_kv::{RangeRequest, SortOrder, SortTarget};

use crate::etcd::Request;
use crate::etcd::client::Client;
use crate::etcd::requests::{KeySpace, every, one, read};

/// How far back reads go.
const PAST_MAX: u64 = 40;

/// Reads ranges.
pub(crate) async fn run(mut client: Client, space: KeySpace, thinks: Duration) {
    while client.thinks(thinks).await {
        let request = draw(&mut client, &space);
        let serializable = client.chance.one_in(3);
        // Of a revision that is compacted or does not exist yet the store says so: that is no reason to try again.
        if request.revision > 0 {
            client.call(Request::Range { range: request, serializable }).await;
        } else {
            client.read(request, serializable).await;
        }
    }
}

fn draw(client: &mut Client, space: &KeySpace) -> RangeRequest {
    let known = client.site.revision();
    let chance = &mut client.chance;
    let range = match chance.below(8) {
        0..=2 => space.all(),
        3 | 4 => space.some(chance),
        5 => every(),
        _ => one(space.key(chance)),
    };
    let past = i64::try_from(chance.below(PAST_MAX)).unwrap_or(0);
    let revision = match chance.below(20) {
        0..=6 => (known - past).max(1),
        7 => known + 1 + past,
        _ => 0,
    };
    let plain = RangeRequest { revision, ..read(range) };
    match chance.below(8) {
        0 => RangeRequest { count_only: true, ..plain },
        1 => RangeRequest { limit: 1 + i64::try_from(chance.below(5)).unwrap_or(0), ..plain },
        2 => RangeRequest { keys_only: true, ..plain },
        3 => RangeRequest { min_mod_revision: (known - past).max(1), ..plain },
        4 => RangeRequest { max_create_revision: (known - past).max(1), ..plain },
        5 => {
            let sort_order = if chance.one_in(2) { SortOrder::Ascend } else { SortOrder::Descend };
            let targets =
                [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];
            let sort_target = targets[usize::try_from(chance.below(5)).unwrap_or(0)];
            RangeRequest { sort_order, sort_target, ..plain }
        }
        _ => plain,
    }
}
