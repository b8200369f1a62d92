//! The cluster that committed offsets belong to.

use warehouse::source::claim;
use warehouse::{Error, Remedy};

use crate::support::{Tables, batch, shopping};

#[tokio::test]
async fn offsets_belong_to_the_first_cluster_until_they_are_deleted() {
    let tables = Tables::new().await;
    let clients = [
        tables.database.connect().await.unwrap(),
        tables.database.connect().await.unwrap(),
    ];
    let claimed = async |cluster: usize| {
        let id = ["one", "two"][cluster];
        claim(&clients[cluster], "test", "shop-events", id).await
    };
    // Both start at once.
    let outcomes = tokio::join!(claimed(0), claimed(1));
    let first = usize::from(outcomes.0.is_err());
    let second = 1 - first;
    for _ in 0..2 {
        claimed(first).await.unwrap();
        let error = claimed(second).await.unwrap_err();
        assert!(matches!(error, Error::OtherCluster { .. }), "{error}");
        assert_eq!(error.remedy(), Remedy::Fatal);
    }
    claim(&clients[second], "another name", "shop-events", "two")
        .await
        .unwrap();

    let written = batch(0, shopping(0, 10));
    tables.writer(0).write(&written).await.unwrap();
    let later = "UPDATE sink_clusters SET since = since - interval '2 minutes'";
    tables.client.batch_execute(later).await.unwrap();
    let error = claimed(second).await.unwrap_err().to_string();
    for part in ["last commit 20", "meta.name", "DELETE FROM sink_offsets"] {
        assert!(error.contains(part), "{error}");
    }
    let delete = "DELETE FROM sink_offsets WHERE sink = 'test' AND topic = 'shop-events'";
    tables.client.batch_execute(delete).await.unwrap();
    claimed(second).await.unwrap();
    claimed(first).await.unwrap_err();
}
