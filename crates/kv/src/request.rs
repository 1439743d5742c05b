//! Questions and orders to the store, in etcd's words. Plain data: no wire format of any client.

use bytes::Bytes;

/// A key with its value and history marks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, never empty.
    pub key: Bytes,
    /// Revision of the put that created the current incarnation of the key.
    pub create_revision: i64,
    /// Revision of the last put.
    pub mod_revision: i64,
    /// How many puts the current incarnation has seen; 1 after its creation.
    pub version: i64,
    /// The value; empty where only keys were asked for.
    pub value: Bytes,
    /// Lease that the key is attached to, zero for none.
    pub lease: i64,
}

/// A set of keys, as etcd writes it. `range_end` empty: the one key; a single zero byte: all keys from `key` on;
/// otherwise `key <= k < range_end`. `key` of a single zero byte with the same end is every key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub key: Bytes,
    /// End of the range, see above.
    pub range_end: Bytes,
}

/// Reads a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// Most keys to return; zero for no limit.
    pub limit: i64,
    /// At which revision; zero or less for the latest.
    pub revision: i64,
    /// Order of the result.
    pub sort_order: SortOrder,
    /// What the order goes by.
    pub sort_target: SortTarget,
    /// Leave out values, and leases unless it is sorted by value.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// Leave out keys with a smaller mod revision; zero for off. The other three likewise.
    pub min_mod_revision: i64,
    /// Upper bound of the mod revision.
    pub max_mod_revision: i64,
    /// Lower bound of the create revision.
    pub min_create_revision: i64,
    /// Upper bound of the create revision.
    pub max_create_revision: i64,
}

impl RangeRequest {
    /// etcd answers such a range from its index, which knows no leases; values it fetches only to sort by them.
    pub(crate) fn leaves_out_leases(&self) -> bool {
        self.keys_only && self.sort_target != SortTarget::Value
    }
}

/// Order of a range's result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// By key unless a target is given, then ascending.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

/// What a range is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The version.
    Version,
    /// The create revision.
    Create,
    /// The mod revision.
    Mod,
    /// The value, bytewise.
    Value,
}

/// What a range holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeResult {
    /// Keys found, at most `limit`.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut some off.
    pub more: bool,
    /// All keys in the range at that revision, whatever limit and filters say.
    pub count: i64,
}

/// Writes a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutRequest {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// Lease to attach to, zero for none.
    pub lease: i64,
    /// Return what was there before.
    pub prev_kv: bool,
    /// Keep the value that is there.
    pub ignore_value: bool,
    /// Keep the lease that is there.
    pub ignore_lease: bool,
}

/// Deletes a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// Return what was deleted.
    pub prev_kv: bool,
}

/// Reads and writes atomically: if all of `compare` hold, `success`, else `failure`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnRequest {
    /// Conditions on the state before the transaction.
    pub compare: Vec<Compare>,
    /// Done when all hold.
    pub success: Vec<RequestOp>,
    /// Done otherwise.
    pub failure: Vec<RequestOp>,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOp {
    /// Reads.
    Range(RangeRequest),
    /// Writes.
    Put(PutRequest),
    /// Deletes.
    DeleteRange(DeleteRangeRequest),
    /// A transaction within.
    Txn(TxnRequest),
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Key, or range of which every existing key must satisfy the condition.
    pub range: KeyRange,
    /// How what is stored must relate to the target: stored ⟨result⟩ given.
    pub result: CompareResult,
    /// What is compared, and with what.
    pub target: CompareTarget,
}

/// Relation of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareResult {
    /// Stored equals given.
    Equal,
    /// Stored is greater.
    Greater,
    /// Stored is less.
    Less,
    /// Stored differs.
    NotEqual,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    /// The version, zero for a missing key.
    Version(i64),
    /// The create revision, zero for a missing key.
    CreateRevision(i64),
    /// The mod revision, zero for a missing key.
    ModRevision(i64),
    /// The value; never true of a missing key.
    Value(Bytes),
    /// The lease, zero for none and for a missing key.
    Lease(i64),
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Put or delete.
    pub kind: EventKind,
    /// The key as it is now; of a deletion only `key` and `mod_revision`.
    pub kv: KeyValue,
    /// The key as it was before, if it was and if that is still known.
    pub prev_kv: Option<KeyValue>,
}

/// Kinds of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Created or changed.
    Put,
    /// Deleted, by a client or with its lease.
    Delete,
}
