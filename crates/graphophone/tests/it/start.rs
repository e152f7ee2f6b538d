//! A server that does not start says whether a person has to act (exit code 78), or whether another
//! try may succeed.

use std::{fs, path::Path};

use graphophone::{Server, StartError};
use graphophone_store::Store;
use graphophone_testkit::dev_config;

async fn refusal(directory: &Path) -> StartError {
    Server::start(dev_config(directory)).await.err().expect("it does not start")
}

fn text_of(error: StartError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

#[tokio::test]
async fn a_damaged_store_is_a_matter_of_configuration_and_one_in_use_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    let in_use = refusal(directory.path()).await;
    assert!(matches!(in_use, StartError::SetUp(..)));
    let text = text_of(in_use);
    assert!(text.contains("store.path") && text.contains("in use"), "{text}");

    store.close().await;
    fs::write(path.join("graphophone.db"), vec![b'x'; 8192]).unwrap();
    let damaged = refusal(directory.path()).await;
    assert!(matches!(damaged, StartError::Config(..)));
    let text = text_of(damaged);
    assert!(text.contains("graphophone.db is damaged"), "{text}");
}

#[tokio::test]
async fn a_broken_key_file_is_a_matter_of_configuration() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("token-signing.pem"), "no key").unwrap();
    let broken = refusal(directory.path()).await;
    assert!(matches!(broken, StartError::Config(..)));
    let text = text_of(broken);
    assert!(text.contains("token-signing.pem is broken"), "{text}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut config = dev_config(directory.path());
    config.http.listen = taken.local_addr().unwrap();
    let error = Server::start(config).await.err().expect("it does not start");
    assert!(matches!(error, StartError::ConfigListen { .. }));
    let text = text_of(error);
    assert!(text.contains("http.listen"), "{text}");
}
