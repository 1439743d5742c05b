//! How much memory a member takes, from its page of metrics.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client::Context;
use super::dial::Address;
use super::failure::Failure;

/// The line that tells it.
const METRIC: &str = "process_resident_memory_bytes";

/// The resident memory of a member in bytes.
pub async fn resident(context: &Context, endpoint: &str) -> Result<u64, Failure> {
    let page = timeout(context.settings.command_timeout, metrics(context, endpoint)).await;
    let page = page.unwrap_or_else(|_| Err("it does not answer in time".into()));
    let page = page.map_err(|why| Failure::error(format!("cannot read {endpoint}/metrics: {why}")))?;
    find(&page).ok_or_else(|| Failure::error(format!("{endpoint}/metrics does not tell {METRIC}")))
}

async fn metrics(context: &Context, endpoint: &str) -> Result<String, String> {
    let address = Address::parse(endpoint)?;
    let tls = context.tls.for_address(&address)?;
    if tls.is_some() {
        return Err("the page of metrics is read without TLS only; name an http:// endpoint".into());
    }
    let mut wire = address.open(None).await.map_err(|error| error.to_string())?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", address.host());
    wire.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut page = Vec::new();
    wire.read_to_end(&mut page).await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn find(page: &str) -> Option<u64> {
    let number = page.lines().find_map(|line| line.strip_prefix(METRIC)?.strip_prefix(' '))?;
    // Prometheus writes large numbers with an exponent.
    number.trim().parse::<f64>().ok().map(|bytes| bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found() {
        let page = "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 2.5e+07\nother 1\n";
        assert_eq!(find(page), Some(25_000_000));
        assert_eq!(find("other 1\n"), None);
    }
}
