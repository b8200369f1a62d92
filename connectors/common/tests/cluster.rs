//! Requests to a cluster, on the embedded node.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use connector_common::of_leader;
use fluvio::config::{ConfigFile, TlsConfig, TlsPolicy};
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioClusterConfig};
use fluvio_node::{Node, NodeConfig};

/// Fluvio's client ignores keys that it does not know, and a profile without TLS works as well.
#[test]
fn the_profile_of_the_kubernetes_files_verifies_the_cluster() {
    let config_map = include_str!("../../../deploy/kubernetes/config.yaml");
    let config_map: serde_json::Value = serde_saphyr::from_str(config_map).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let profile = config_map["data"]["profile.toml"].as_str().unwrap();
    std::fs::write(file.path(), profile).unwrap();
    let profile = ConfigFile::load(Some(file.path().display().to_string())).unwrap();
    let cluster = profile.config().current_cluster().unwrap();
    let TlsPolicy::Verified(TlsConfig::Files(paths)) = &cluster.tls else {
        panic!("{:?}", cluster.tls);
    };
    for path in [&paths.ca_cert, &paths.cert, &paths.key] {
        assert!(path.starts_with("/etc/fluvio-tls"), "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_does_not_answer_is_named_by_its_own_address() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NodeConfig::on_free_ports(folder.path())).await;
    let node = node.unwrap();
    let controller = node.sc_addr().to_string();
    let cluster = FluvioClusterConfig::new(&controller);
    let client = Fluvio::connect_with_config(&cluster).await.unwrap();
    let admin = client.admin().await;
    let spec = TopicSpec::new_computed(1, 1, None);
    let created = admin.create("events".to_owned(), false, spec).await;
    created.unwrap();

    let silent = std::future::pending::<anyhow::Result<()>>();
    let error = of_leader(&client, "events", 0, silent).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains(&node.spu_addr().to_string()), "{error}");
    assert!(!error.contains(&controller), "{error}");
    drop((client, admin));
    node.stop().await.unwrap();
}
