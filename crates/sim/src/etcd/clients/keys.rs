//! Puts, gets and deletes of single keys, some of them hot.

use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Command, DeleteRangeRequest, PutRequest};

use crate::etcd::client::Client;
use crate::etcd::requests::{KeySpace, one, put, read};

/// Writes, reads and deletes keys.
pub(crate) async fn run(mut client: Client, space: KeySpace, value_bytes: u64, thinks: Duration) {
    while client.thinks(thinks).await {
        match client.chance.below(100) {
            0..=44 => write(&mut client, &space, value_bytes).await,
            45..=54 => delete(&mut client, &space).await,
            _ => {
                let key = space.key(&mut client.chance);
                let serializable = client.chance.one_in(4);
                client.read(read(one(key)), serializable).await;
            }
        }
    }
}

async fn write(client: &mut Client, space: &KeySpace, value_bytes: u64) {
    let key = space.key(&mut client.chance);
    let bytes = usize::try_from(client.chance.below(value_bytes + 1)).unwrap_or(0);
    let value = client.value(bytes);
    let plain = put(key, value, 0);
    let put = match client.chance.below(30) {
        0 => PutRequest { ignore_value: true, value: Bytes::new(), ..plain },
        1 => PutRequest { ignore_lease: true, ..plain },
        2..=7 => PutRequest { prev_kv: true, ..plain },
        _ => plain,
    };
    client.write(Command::Put(put)).await;
}

async fn delete(client: &mut Client, space: &KeySpace) {
    let range =
        if client.chance.one_in(4) { space.some(&mut client.chance) } else { one(space.key(&mut client.chance)) };
    let prev_kv = client.chance.one_in(3);
    client.write(Command::DeleteRange(DeleteRangeRequest { range, prev_kv })).await;
}

/// Writes a key that nobody else writes, and reads it back.
pub(crate) async fn run_own(mut client: Client, thinks: Duration) {
    let key: Bytes = format!("own/{:016x}", client.chance.next_u64()).into();
    while client.thinks(thinks).await {
        let value = client.value(0);
        client.write(Command::Put(put(key.clone(), value, 0))).await;
        client.read(read(one(key.clone())), false).await;
    }
}
