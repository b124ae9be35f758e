//! The QUIC configurations, each from its ingredients, so that an endpoint can be built on any socket and runtime.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, Side, TimeSource, TransportConfig, VarInt,
};
use tombolo_crdt::NodeId;

use crate::error::ConnectError;
use crate::identity::Identity;
use crate::places::PlaceLimits;
use crate::standing::Standing;
use crate::{limits, tls};

/// What may differ between endpoints. The defaults are right for nodes; tests and simulations vary them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The application protocol. Default: `tombolo/1`. Both ends must agree.
    pub alpn: Vec<u8>,
    /// Interval of packets on a silent connection. Default: 5 s. Too long: NAT mappings close.
    pub keep_alive: Duration,
    /// Silence after which a connection is lost. Default: 30 s. Too short: slow links never stay up.
    pub idle_timeout: Duration,
    /// How long a frame may stand still while this node takes bytes. Default: 30 s.
    pub frame_stall: Duration,
    /// How many may dial in at once. Default: as in [`limits`].
    pub places: PlaceLimits,
    /// Seeds the endpoint's own randomness, and lets address proofs age by tokio's clock instead of the system's.
    /// Default: none. For simulations only. What TLS draws cannot be seeded: bytes of packets differ, their number and
    /// order do not.
    pub rng_seed: Option<[u8; 32]>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            alpn: limits::ALPN.to_vec(),
            keep_alive: limits::KEEP_ALIVE,
            idle_timeout: limits::IDLE_TIMEOUT,
            frame_stall: limits::FRAME_STALL,
            places: PlaceLimits {
                handshakes: limits::HANDSHAKES,
                waiting: limits::WAITING,
                strangers: limits::STRANGERS,
                per_key: limits::PER_KEY,
            },
            rng_seed: None,
        }
    }
}

/// Windows, streams and times of one connection, as a stranger has them. Only the accepting side takes a bidirectional
/// stream: control.
///
/// # Errors
/// [`ConnectError::Setup`] if the idle timeout is beyond what QUIC can say.
pub fn transport(settings: &Settings, side: Side) -> Result<TransportConfig, ConnectError> {
    let idle = IdleTimeout::try_from(settings.idle_timeout).map_err(setup)?;
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(u32::from(side.is_server())))
        .max_concurrent_uni_streams(VarInt::from_u32(Standing::Stranger.streams()))
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW))
        .receive_window(VarInt::from_u32(Standing::Stranger.window()))
        .send_window(limits::SEND_WINDOW)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(settings.keep_alive))
        // Looking for longer packets sends some ten kilobytes of probes on every new connection: many times what a
        // reconnect carries, to save a few percent of a large transfer.
        .mtu_discovery_config(None)
        .datagram_receive_buffer_size(None);
    Ok(config)
}

/// The endpoint. The reset key comes from the node's key, so that after a restart it can tell its old peers at once
/// that their connections are gone, instead of leaving them to the idle timeout.
///
/// # Errors
/// [`ConnectError::Setup`] if the system has no randomness to give.
pub fn endpoint(identity: &Identity, settings: &Settings) -> Result<EndpointConfig, ConnectError> {
    let mut seed = [0; 32];
    match settings.rng_seed {
        Some(given) => seed = given,
        None => getrandom::fill(&mut seed).map_err(setup)?,
    }
    let ids = Arc::new(AtomicU64::new(0));
    let mut config = EndpointConfig::new(Arc::new(ResetKey(identity.derived("tombolo 1 quic stateless reset"))));
    config.cid_generator(move || Box::new(Ids { seed, counter: ids.clone() })).rng_seed(settings.rng_seed);
    Ok(config)
}

/// The accepting side, with bounds on strangers.
///
/// # Errors
/// [`ConnectError::Setup`].
pub fn server(identity: &Identity, settings: &Settings) -> Result<quinn::ServerConfig, ConnectError> {
    let tls = tls::server(identity, &settings.alpn).map_err(setup)?;
    let crypto = QuicServerConfig::try_from(tls).map_err(setup)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport(settings, Side::Server)?))
        .migration(true)
        .max_incoming(limits::INCOMING_MAX)
        .incoming_buffer_size(limits::INCOMING_BUFFER)
        .incoming_buffer_size_total(limits::INCOMING_BUFFER_TOTAL)
        .retry_token_lifetime(limits::RETRY_TOKEN_LIFETIME);
    if settings.rng_seed.is_some() {
        config.time_source(Arc::new(TokioTime(tokio::time::Instant::now())));
    }
    Ok(config)
}

/// One dial. `seen` receives the key of whoever answers.
///
/// # Errors
/// [`ConnectError::Setup`].
pub fn client(
    identity: &Identity,
    settings: &Settings,
    expected: Option<NodeId>,
    seen: Arc<OnceLock<NodeId>>,
) -> Result<quinn::ClientConfig, ConnectError> {
    let tls = tls::client(identity, &settings.alpn, expected, seen).map_err(setup)?;
    let crypto = QuicClientConfig::try_from(tls).map_err(setup)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(settings, Side::Client)?));
    Ok(config)
}

fn setup(error: impl std::fmt::Display) -> ConnectError {
    ConnectError::Setup { reason: error.to_string() }
}

/// The wall clock of a simulation: 1970 is when the endpoint was made.
struct TokioTime(tokio::time::Instant);

impl TimeSource for TokioTime {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + self.0.elapsed()
    }
}

/// Connection ids: eight bytes that nobody can foresee, and that are the same for the same seed. Quinn's own generators
/// recognise only ids made since the start, which would keep the resets above from being sent.
struct Ids {
    seed: [u8; 32],
    counter: Arc<AtomicU64>,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let hash = blake3::keyed_hash(&self.seed, &number.to_le_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
        ConnectionId::new(&[a, b, c, d, e, f, g, h])
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

const CONNECTION_ID_BYTES: usize = 8;

/// Keyed blake3 in the place of an HMAC.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        let hash = blake3::keyed_hash(&self.0, data);
        for (to, from) in signature.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature = blake3::Hash::from_slice(signature).map_err(|_| CryptoError)?;
        // Hashes compare in constant time.
        if blake3::keyed_hash(&self.0, data) == signature { Ok(()) } else { Err(CryptoError) }
    }
}
