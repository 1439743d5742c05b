//! What `docs/compatibility.md` says of calls, paths and metrics, asked of a running member: whatever it calls there must
//! answer, and whatever it calls missing must not.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

mod support;

use support::{Cluster, http_get};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

/// A row: its name, and whether it is there.
struct Row {
    name: String,
    is_there: bool,
}

/// The rows of a table of the page.
fn rows(title: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split(&format!("\n## {title}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let found: Vec<Row> = table
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some(Row { name: name.to_owned(), is_there: !rest.starts_with("no |") })
        })
        .collect();
    assert!(found.len() > 5, "{title}");
    found
}

fn port(cluster: &Cluster) -> u16 {
    cluster.client_url(0).rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_as_the_page_says() {
    let cluster = Cluster::start(1, &[]).await;
    for row in rows("Calls") {
        let mut names = row.name.split(", POST ");
        let path = names.next().unwrap();
        assert_eq!(answers(&cluster, path).await, row.is_there, "{path}: correct its line in compatibility/notes.txt");
        for gateway in names {
            let head =
                format!("POST {gateway} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}");
            let told = raw(port(&cluster), &head).await;
            assert!(!told.contains("\"message\":\"Not Found\""), "{gateway}: {told}");
        }
    }
    assert!(!answers(&cluster, "/etcdserverpb.KV/Fly").await);
}

/// Calls with an empty request: an error counts as an answer, unless it says that there is no such call.
async fn answers(cluster: &Cluster, path: &str) -> bool {
    let mut client = tonic::client::Grpc::new(cluster.channel(0));
    client.ready().await.unwrap();
    let path = PathAndQuery::try_from(path.to_owned()).unwrap();
    let codec: ProstCodec<(), ()> = ProstCodec::default();
    let call = async {
        match client.server_streaming(Request::new(()), path, codec).await {
            Ok(response) => response.into_inner().message().await.err(),
            Err(status) => Some(status),
        }
    };
    // A call that waits, as a watch does, is there.
    let outcome = tokio::time::timeout(Duration::from_millis(500), call).await.unwrap_or(None);
    outcome.is_none_or(|status| status.code() != Code::Unimplemented)
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_metrics_are_there_as_the_page_says() {
    let cluster = Cluster::start(1, &["--enable-pprof", "--metrics=extensive"]).await;
    for row in rows("Paths") {
        let head = format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", row.name);
        let told = raw(port(&cluster), &head).await;
        let missing = told.starts_with("HTTP/1.1 404") || told.contains("do not exist here");
        assert_eq!(!missing, row.is_there, "{}: {told}", row.name);
    }
    let shown = http_get(port(&cluster), "/metrics").await.unwrap();
    for row in rows("Metrics") {
        assert_eq!(shown.contains(&format!("# TYPE {} ", row.name)), row.is_there, "{}", row.name);
    }
}

async fn raw(port: u16, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A stream does not end: what came in so long is enough.
    let _ = tokio::time::timeout(Duration::from_millis(500), socket.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_runs_from_a_file_as_etcd_reads_it() {
    let mut cluster = Cluster::prepare(1, &[]);
    let mut yaml = String::from(
        "# as etcd's sample\nstrict-reconfig-check: true\ngrpc-keepalive-interval: 7200000000000\ncors:\n",
    );
    for flag in cluster.flags(0).iter().skip(1) {
        let (name, value) = flag.trim_start_matches('-').split_once('=').unwrap();
        yaml.push_str(&format!("{name}: {value}\n"));
    }
    let path = cluster.data_dir(0).with_extension("yml");
    std::fs::write(&path, yaml).unwrap();
    cluster.set_flags(0, vec!["server".into(), "--config-file".into(), path.display().to_string()]);
    cluster.spawn(0);
    cluster.wait_ready(0).await;
    assert!(cluster.log(0).contains("ready to serve client requests"), "{}", cluster.log(0));
}
