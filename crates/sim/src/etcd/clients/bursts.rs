//! Overload: hundreds of writes at once, some of them large.

use std::time::Duration;

use kontiki_kv::Command;

use crate::etcd::client::Client;
use crate::etcd::requests::{KeySpace, put};

/// Throws writes at the members now and then, and waits for none of them.
pub(crate) async fn run(mut client: Client, space: KeySpace, thinks: Duration, writes_max: u64, value_bytes: u64) {
    while client.thinks(thinks).await {
        let bytes = client.chance.below(value_bytes + 1);
        for _ in 0..1 + client.chance.below(writes_max) {
            let mut writer = client.companion();
            let key = space.key(&mut client.chance);
            client.site.spawner.clone().spawn(async move {
                let value = writer.value(usize::try_from(bytes).unwrap_or(0));
                writer.write(Command::Put(put(key, value, 0))).await;
            });
        }
    }
}
