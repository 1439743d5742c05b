//! What a member tells in its log about the settings that it starts with.

use super::ServerConfig;

/// Logs the settings that decide how the member behaves beyond its addresses.
pub fn report(config: &ServerConfig) {
    tracing::info!(
        auth_token = config.auth.token,
        auth_token_ttl_seconds = config.auth.token_ttl.as_secs(),
        bcrypt_cost = config.auth.bcrypt_cost,
        client_tls = config.client_tls.cert_file.is_some() || config.client_tls.auto_tls,
        client_cert_auth = config.client_tls.client_cert_auth,
        peer_tls = config.peer_tls.cert_file.is_some() || config.peer_tls.auto_tls,
        peer_client_cert_auth = config.peer_tls.client_cert_auth,
        "who may come in"
    );
    tracing::info!(
        strict_reconfig_check = config.strict_reconfig_check,
        max_learners = config.learners_max,
        grpc_keepalive_min_seconds = config.keepalive_min.as_secs_f64(),
        quota_backend_bytes = config.quota_bytes,
        auto_compaction = %config.auto_compaction,
        "what is kept and what is refused"
    );
}
