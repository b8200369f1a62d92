//! Topics: created, refused, listed, watched, extended, deleted.

use fluvio::dataplane::link::ErrorCode;
use fluvio::metadata::customspu::CustomSpuSpec;
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::tableformat::TableFormatSpec;
use fluvio::metadata::topic::{AddPartition, TopicSpec, UpdateTopicAction};
use fluvio::{FluvioAdmin, Offset};
use fluvio_sc_schema::ApiError;

use crate::support::{Fixture, eventually, next, numbered, send, values, within};

/// Returns the code of the node's error.
fn code(result: Result<(), anyhow::Error>) -> ErrorCode {
    match result.expect_err("refused").downcast::<ApiError>() {
        Ok(ApiError::Code(code, _)) => code,
        other => panic!("not an answer: {other:?}"),
    }
}

async fn create(admin: &FluvioAdmin, name: &str, spec: TopicSpec) -> Result<(), anyhow::Error> {
    within(admin.create(name.to_owned(), false, spec)).await
}

async fn names(admin: &FluvioAdmin) -> Vec<String> {
    let mut names: Vec<_> = admin
        .all::<TopicSpec>()
        .await
        .unwrap()
        .into_iter()
        .map(|it| it.name)
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_come_and_go() {
    let fixture = Fixture::start().await;
    let admin = &fixture.admin;
    assert_eq!(names(admin).await, Vec::<String>::new());

    fixture.create_topic("one", 1).await;
    create(
        admin,
        "three",
        TopicSpec::new_assigned(vec![(0, vec![5001]), (1, vec![5001]), (2, vec![5001])]),
    )
    .await
    .unwrap();
    assert_eq!(names(admin).await, ["one", "three"]);
    let listed = admin
        .list::<TopicSpec, _>(vec!["three".to_owned()])
        .await
        .unwrap();
    assert_eq!(listed[0].spec.partitions(), 3);
    assert_eq!(
        listed[0].status.resolution.resolution_label(),
        "provisioned"
    );

    let partitions = admin.all::<PartitionSpec>().await.unwrap();
    let mut keys: Vec<_> = partitions.iter().map(|it| it.name.clone()).collect();
    keys.sort();
    assert_eq!(keys, ["one-0", "three-0", "three-1", "three-2"]);
    assert!(
        partitions
            .iter()
            .all(|it| it.spec.leader == 5001 && it.status.is_online())
    );

    admin.delete::<TopicSpec>("one").await.unwrap();
    assert_eq!(names(admin).await, ["three"]);
    assert!(!fixture.dir.path().join("logs/one-0").exists());

    // The same name again is a new topic.
    fixture.create_topic("one", 2).await;
    let producer = fixture.producer("one", 1).await;
    assert_eq!(send(&producer, &numbered("a", 1)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_topics_have_fluvios_codes() {
    let fixture = Fixture::with_topic("there", 1).await;
    let admin = &fixture.admin;
    let computed = |partitions, replicas| TopicSpec::new_computed(partitions, replicas, None);

    assert_eq!(
        code(create(admin, "there", computed(1, 1)).await),
        ErrorCode::TopicAlreadyExists
    );
    assert_eq!(
        code(create(admin, "No Name", computed(1, 1)).await),
        ErrorCode::TopicInvalidName
    );
    assert_eq!(
        code(create(admin, "none", computed(0, 1)).await),
        ErrorCode::TopicError
    );
    assert_eq!(
        code(create(admin, "two", computed(1, 2)).await),
        ErrorCode::TopicNotProvisioned
    );
    let many = create(admin, "many", computed(u32::MAX, 1)).await;
    assert_eq!(code(many), ErrorCode::TopicInvalidConfiguration);
    let elsewhere = TopicSpec::new_assigned(vec![(0, vec![1])]);
    assert_eq!(
        code(create(admin, "elsewhere", elsewhere).await),
        ErrorCode::TopicError
    );
    assert_eq!(
        code(admin.delete::<TopicSpec>("missing").await),
        ErrorCode::TopicNotFound
    );
    assert!(matches!(
        code(admin.force_delete::<TopicSpec>("consumer-offset").await),
        ErrorCode::SystemSpecDeletionAttempt { .. }
    ));
    assert_eq!(names(admin).await, ["there"]);

    admin
        .create("dry".to_owned(), true, computed(1, 1))
        .await
        .unwrap();
    assert_eq!(names(admin).await, ["there"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_objects_are_answered() {
    let fixture = Fixture::start().await;
    let admin = &fixture.admin;
    let create = admin.create("t".to_owned(), false, TableFormatSpec::default());
    assert!(matches!(code(within(create).await), ErrorCode::Other(_)));
    let create = admin.create("s".to_owned(), false, CustomSpuSpec::default());
    assert!(matches!(code(within(create).await), ErrorCode::Other(_)));
    let delete = admin.delete::<TableFormatSpec>("t");
    assert!(matches!(code(within(delete).await), ErrorCode::Other(_)));
    assert!(
        within(admin.all::<TableFormatSpec>())
            .await
            .unwrap()
            .is_empty()
    );

    let spus = admin.all::<SpuSpec>().await.unwrap();
    assert_eq!(spus.len(), 1);
    assert_eq!(
        spus[0].spec.public_endpoint.addr(),
        fixture.node.spu_addr().to_string()
    );
    assert!(spus[0].status.is_online());
    assert_eq!(fixture.fluvio.platform_version().to_string(), "0.18.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_everything_first_and_then_what_changes() {
    let fixture = Fixture::with_topic("first", 1).await;
    let mut watch = fixture.admin.watch::<TopicSpec>().await.unwrap();
    let update = next(&mut watch).await.unwrap().inner();
    let mut all: Vec<_> = update.all.iter().map(|it| it.name.as_str()).collect();
    all.sort_unstable();
    assert_eq!(all, ["consumer-offset", "first"]);

    fixture.create_topic("second", 1).await;
    let update = next(&mut watch).await.unwrap().inner();
    assert_eq!(update.changes.len(), 1);
    assert_eq!(update.changes[0].content.name, "second");

    fixture.admin.delete::<TopicSpec>("first").await.unwrap();
    let update = next(&mut watch).await.unwrap().inner();
    assert_eq!(update.changes.len(), 1);
    assert_eq!(update.changes[0].content.name, "first");
    assert_eq!(format!("{:?}", update.changes[0].header), "DELETE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_grows() {
    let fixture = Fixture::with_topic("growing", 1).await;
    let producer = fixture.producer("growing", 0).await;
    send(&producer, &numbered("kept", 2)).await;
    let action = UpdateTopicAction::AddPartition(AddPartition { count: 2 });
    fixture
        .admin
        .update::<TopicSpec>("growing", action)
        .await
        .unwrap();

    let producer = eventually(async || {
        let partitions = fixture.admin.all::<PartitionSpec>().await.unwrap();
        (partitions.len() == 3).then_some(())
    });
    producer.await;
    let fixture = fixture.restart().await;
    let producer = fixture.producer("growing", 2).await;
    assert_eq!(send(&producer, &numbered("new", 1)).await, 0);
    let kept = fixture.batches("growing", 0, 0, 1).await;
    assert_eq!(values(&kept[0]), ["kept-0", "kept-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_topic_ends_its_streams() {
    let fixture = Fixture::with_topic("doomed", 2).await;
    let producer = fixture.producer("doomed", 1).await;
    send(&producer, &numbered("a", 1)).await;
    let config = fluvio::consumer::ConsumerConfig::builder().build().unwrap();
    let mut stream = fixture
        .stream("doomed", 1, Offset::beginning(), config)
        .await;
    next(&mut stream).await.unwrap();
    fixture.admin.delete::<TopicSpec>("doomed").await.unwrap();
    assert_eq!(
        next(&mut stream).await.unwrap_err(),
        ErrorCode::TopicDeleted
    );
}
