//! Where a node may be reached.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// An address with its port: numeric, or a name that is resolved at every dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// `192.0.2.1:7700`, `[2001:db8::1]:7700`.
    Socket(SocketAddr),
    /// `site.example:7700`.
    Name(String),
}

/// Text that is no address. Caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address: expected host:port, 192.0.2.1:7700 or [2001:db8::1]:7700")]
pub struct ParseAddressError {
    text: String,
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let wrong = || ParseAddressError { text: text.chars().take(80).collect() };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 { Err(wrong()) } else { Ok(Self::Socket(address)) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
        let is_host = (1..=253).contains(&host.len())
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        if is_port && is_host { Ok(Self::Name(text.to_owned())) } else { Err(wrong()) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        for text in ["192.0.2.1:7700", "[2001:db8::1]:7700", "site.example:7700", "localhost:1"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
        for text in ["", "host", "host:", ":1", "host:0", "127.0.0.1:0", "2001:db8::1:7700", "a b:1", "h:65536"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
