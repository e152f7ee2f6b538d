//! What strangers do to the sockets.

use std::time::Duration;

use graphophone_sip::phone::PhoneTransport;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::bench::*;

fn options(number: usize) -> String {
    format!(
        "OPTIONS sip:bot@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;rport;branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:bot@127.0.0.1>\r\n\
         Call-ID: c{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

async fn read_until(stream: &mut TcpStream, wanted: &str, times: usize) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while text.matches(wanted).count() < times {
        let length = soon(stream.read(&mut buffer)).await.unwrap();
        assert_ne!(length, 0, "closed after {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    text
}

#[tokio::test]
async fn a_tcp_stream_is_framed_whatever_its_pieces() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address(PhoneTransport::Tcp)).await.unwrap();
    let text: String = (0..3).map(|number| format!("\r\n{}", options(number))).collect();
    for byte in text.as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
    }
    let answers = read_until(&mut stream, "SIP/2.0 200 OK\r\n", 3).await;
    assert_eq!(answers.matches("SIP/2.0 ").count(), 3);
}

#[tokio::test]
async fn a_keep_alive_is_answered() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address(PhoneTransport::Tcp)).await.unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    soon(stream.read_exact(&mut pong)).await.unwrap();
    assert_eq!(&pong, b"\r\n");
}

#[tokio::test]
async fn broken_framing_is_answered_and_the_connection_closed() {
    let server = Server::start().await;
    for length in ["-1", "+5", "0x5", "99999999999999999999", "2147483647", "5, 5"] {
        let mut stream = TcpStream::connect(server.address(PhoneTransport::Tcp)).await.unwrap();
        let broken = options(1).replace("Content-Length: 0", &format!("Content-Length: {length}"));
        stream.write_all(broken.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("SIP/2.0 4"), "{length}: {answer}");
        assert_eq!(answer.matches("SIP/2.0 4").count(), 1);
    }
}

#[tokio::test]
async fn a_faulty_request_does_not_cost_the_others_their_connection() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address(PhoneTransport::Tcp)).await.unwrap();
    let faulty = options(1).replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE");
    stream.write_all(format!("{faulty}{}", options(2)).as_bytes()).await.unwrap();
    let answers = read_until(&mut stream, "Call-ID: c2\r\n", 1).await;
    assert_eq!(answers.matches("SIP/2.0 400 Bad Request\r\n").count(), 1, "{answers}");
    assert_eq!(answers.matches("SIP/2.0 200 OK\r\n").count(), 1, "{answers}");
}

#[tokio::test]
async fn noise_on_udp_is_ignored_and_the_next_request_answered() {
    let server = Server::start().await;
    let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    socket.connect(server.address(PhoneTransport::Udp)).await.unwrap();
    let mut noise: Vec<Vec<u8>> = vec![
        vec![],
        vec![0; 500],
        b"\r\n\r\n".to_vec(),
        vec![0x80; 172],
        b"ACK sip:x SIP/2.0\r\n\r\n".to_vec(),
        b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
        "INVITE é SIP/2.0\r\n\r\n".into(),
    ];
    noise.push([b"INVITE sip:bot@x SIP/2.0\r\nVia: ".as_slice(), &[0xFF; 60_000]].concat());
    for datagram in &noise {
        socket.send(datagram).await.unwrap();
    }
    socket.send(options(7).replace("/TCP", "/UDP").as_bytes()).await.unwrap();
    let mut buffer = vec![0; 65_536];
    let length = soon(socket.recv(&mut buffer)).await.unwrap();
    let answer = String::from_utf8_lossy(&buffer[..length]);
    assert!(answer.starts_with("SIP/2.0 200 OK"), "{answer}");
    let more = timeout(Duration::from_millis(50), socket.recv(&mut buffer)).await;
    assert!(more.is_err(), "nothing else is answered");
}
