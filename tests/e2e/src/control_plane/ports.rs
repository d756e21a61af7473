//! Ports for servers that cannot be told to choose one themselves.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// A loopback port that the system will give to nobody else for the next minute.
///
/// A connection that was closed at the port's side leaves it in TIME-WAIT. The system then does not choose it for
/// others, but a server that sets `SO_REUSEADDR`, as Go's do, may listen on it.
pub(crate) fn reserve() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let client = TcpStream::connect(address)?;
    let (server, _) = listener.accept()?;
    drop(server);
    drop(client);
    Ok(address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_can_be_listened_on_and_is_not_given_away() {
        let port = reserve().unwrap();
        for _ in 0..200 {
            assert_ne!(reserve().unwrap(), port);
        }
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
