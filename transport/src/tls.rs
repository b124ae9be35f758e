//! TLS for QUIC: raw public keys (RFC 7250) on both sides, TLS 1.3 only, one ALPN name, no resumption, no early data.
//!
//! A key proves who a peer is; whether it may do anything is judged above this crate.

use std::sync::{Arc, OnceLock};

use ed25519_dalek::VerifyingKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureAlgorithm, SignatureScheme,
};
use tombolo_crdt::NodeId;

use crate::identity::Identity;

/// The accepting side: takes every peer that proves possession of an Ed25519 key.
///
/// # Errors
/// None with the provider this crate is built with; kept because rustls reports unusable providers this way.
pub fn server(identity: &Identity, alpn: &[u8]) -> Result<ServerConfig, Error> {
    let verifier = Arc::new(AnyKey { algorithms: algorithms() });
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(identity))));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The dialling side. With `expected`, any other peer is refused before this node shows its own key; `seen` then holds
/// the key that was found instead.
///
/// # Errors
/// As [`server`].
pub fn client(
    identity: &Identity,
    alpn: &[u8],
    expected: Option<NodeId>,
    seen: Arc<OnceLock<NodeId>>,
) -> Result<ClientConfig, Error> {
    let verifier = Arc::new(ThisKey { algorithms: algorithms(), expected, seen });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(identity))));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

/// The node id in an Ed25519 SubjectPublicKeyInfo: exactly its 44 bytes, nothing else.
#[must_use]
pub fn node_id(spki: &[u8]) -> Option<NodeId> {
    let key = spki.strip_prefix(SPKI_PREFIX)?;
    Some(NodeId::from_bytes(key.try_into().ok()?))
}

fn spki(id: NodeId) -> Vec<u8> {
    [SPKI_PREFIX, id.as_bytes()].concat()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    ring::default_provider().signature_verification_algorithms
}

fn certified(identity: &Identity) -> Arc<CertifiedKey> {
    let key = Arc::new(NodeKey { identity: identity.clone() });
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki(identity.node_id()))], key))
}

/// The node id a peer presents. Keys of small order are refused: anybody can sign with them.
fn presented(key: &CertificateDer<'_>) -> Result<NodeId, Error> {
    let id = node_id(key).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    match VerifyingKey::from_bytes(id.as_bytes()) {
        Ok(key) if !key.is_weak() => Ok(id),
        _ => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
    }
}

fn verify(
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    if signature.scheme != SignatureScheme::ED25519 {
        return Err(Error::InvalidCertificate(CertificateError::BadSignature));
    }
    verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(key.as_ref()), signature, algorithms)
}

fn not_tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic)
}

/// Lets TLS sign with the node's key without copying the secret.
#[derive(Debug)]
struct NodeKey {
    identity: Identity,
}

impl SigningKey for NodeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = || -> Box<dyn Signer> { Box::new(NodeSigner { identity: self.identity.clone() }) };
        offered.contains(&SignatureScheme::ED25519).then(signer)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(spki(self.identity.node_id())))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

#[derive(Debug)]
struct NodeSigner {
    identity: Identity,
}

impl Signer for NodeSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.identity.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Client's view: the server must hold the expected key, if one is.
#[derive(Debug)]
struct ThisKey {
    algorithms: WebPkiSupportedAlgorithms,
    expected: Option<NodeId>,
    seen: Arc<OnceLock<NodeId>>,
}

impl ServerCertVerifier for ThisKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = presented(end_entity)?;
        let _ = self.seen.set(found);
        match self.expected {
            Some(expected) if expected != found => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(not_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Server's view: any key whose holder signs the handshake.
#[derive(Debug)]
struct AnyKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        presented(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(not_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// RFC 8410: SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING of 256 bits }.
const SPKI_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_encoding_of_an_ed25519_key_names_a_node() {
        let id = NodeId::from_bytes([9; 32]);
        let good = spki(id);
        assert_eq!(node_id(&good), Some(id));
        let mut other = good.clone();
        other[8] = 0x71;
        for wrong in [&good[..43], &[good.as_slice(), &[0]].concat(), other.as_slice(), &[]] {
            assert_eq!(node_id(wrong), None);
        }
    }

    #[test]
    fn a_key_that_everybody_can_sign_with_is_refused() {
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        for weak in [[0; 32], identity_point] {
            assert!(presented(&CertificateDer::from(spki(NodeId::from_bytes(weak)))).is_err());
        }
        let good = Identity::from_seed(&[1; 32]).node_id();
        assert_eq!(presented(&CertificateDer::from(spki(good))), Ok(good));
    }
}
