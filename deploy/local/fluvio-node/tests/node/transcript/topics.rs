//! Topics: created, changed, deleted, listed.

use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::topic::{
    AddPartition, CleanupPolicy, SegmentBasedPolicy, TopicSpec, TopicStorageConfig,
    UpdateTopicAction,
};

use super::scene::{Scene, answer};
use crate::support::{eventually, within};

pub async fn scene(scene: &mut Scene) {
    creating(scene).await;
    listing(scene).await;
    growing(scene).await;
    deleting(scene).await;
}

async fn create(scene: &mut Scene, what: &str, name: &str, dry_run: bool, spec: TopicSpec) {
    let created = within(scene.admin.create(name.to_owned(), dry_run, spec)).await;
    let refused = created.is_err();
    scene.note(format!("{what}: {}", answer(created)));
    if !refused && !dry_run {
        let _ = within(scene.admin.delete::<TopicSpec>(name.to_owned())).await;
    }
}

async fn creating(scene: &mut Scene) {
    scene.section("created, and refused");
    let computed = |partitions, replicas| TopicSpec::new_computed(partitions, replicas, None);
    let there = scene.topic("there", 1).await;
    for dry_run in [true, false] {
        scene.note(format!("dry run: {dry_run}"));
        create(scene, "twice", &there, dry_run, computed(1, 1)).await;
        create(scene, "twice, and wrong", &there, dry_run, computed(0, 1)).await;
        for name in [
            "",
            "No Name",
            "UPPER",
            "under_score",
            "dot.dot",
            "-dash",
            "dash-",
            "ä",
        ] {
            create(scene, name, name, dry_run, computed(1, 1)).await;
        }
        let long = "x".repeat(64);
        create(scene, "64 letters", &long, dry_run, computed(1, 1)).await;
        let name = scene.name("none");
        create(scene, "no partition", &name, dry_run, computed(0, 1)).await;
        create(scene, "no replica", &name, dry_run, computed(1, 0)).await;
        let assigned = |spus: Vec<(u32, Vec<i32>)>| TopicSpec::new_assigned(spus);
        for (what, spus) in [
            ("unknown SPU", vec![(0, vec![77])]),
            ("no assignment", vec![]),
            ("partition 1 without 0", vec![(1, vec![5001])]),
            ("an SPU twice", vec![(0, vec![5001, 5001])]),
            ("no SPU", vec![(0, vec![])]),
            ("a negative SPU", vec![(0, vec![-1])]),
            (
                "differing replicas",
                vec![(0, vec![5001]), (1, vec![5001, 77])],
            ),
        ] {
            create(scene, what, &name, dry_run, assigned(spus)).await;
        }
        for (what, segment_size, max_partition_size) in [
            ("segments too small", Some(10), None),
            ("partition too small", None, Some(10)),
            (
                "partition smaller than its segments",
                Some(4_000),
                Some(3_000),
            ),
        ] {
            let mut spec = computed(1, 1);
            spec.set_storage(TopicStorageConfig {
                segment_size,
                max_partition_size,
            });
            create(scene, what, &name, dry_run, spec).await;
        }
        let mut spec = computed(1, 1);
        spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy {
            time_in_seconds: 1,
        }));
        create(scene, "retention too short", &name, dry_run, spec).await;
    }
    let name = scene.name("dry");
    create(scene, "dry run", &name, true, computed(1, 1)).await;
    create(
        scene,
        "dry run, as many replicas as it takes",
        &name,
        true,
        computed(1, 9),
    )
    .await;
}

/// Notes this scene's topics and partitions.
async fn list(scene: &mut Scene) {
    let mut topics = scene.admin.all::<TopicSpec>().await.unwrap();
    topics.retain(|it| scene.owns(&it.name));
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    for it in topics {
        scene.note(format!(
            "  {}: {:?}, system {}, {:?}, reason {:?}, replica map {:?}",
            it.name,
            it.spec.replicas(),
            it.spec.is_system(),
            it.status.resolution,
            it.status.reason,
            it.status.replica_map
        ));
        scene.note(format!(
            "    cleanup {:?}, storage {:?}, compression {:?}, deduplication {:?}",
            it.spec.get_clean_policy(),
            it.spec.get_storage(),
            it.spec.get_compression_type(),
            it.spec.get_deduplication()
        ));
    }
    let mut partitions = scene.admin.all::<PartitionSpec>().await.unwrap();
    partitions.retain(|it| scene.owns(&it.name));
    partitions.sort_by(|a, b| a.name.cmp(&b.name));
    for it in partitions {
        scene.note(format!("  {}: {:?}", it.name, it.spec));
        scene.note(format!(
            "    {:?}, leader {} from {}, followers {:?}, base {}, is being deleted {}",
            it.status.resolution,
            it.status.leader.spu,
            it.status.leader.hw >= 0,
            it.status.replicas,
            it.status.base_offset,
            it.status.is_being_deleted
        ));
    }
}

async fn listing(scene: &mut Scene) {
    scene.section("listed");
    let mut spec = TopicSpec::new_computed(2, 1, Some(true));
    spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy {
        time_in_seconds: 86_400,
    }));
    spec.set_storage(TopicStorageConfig {
        segment_size: Some(4_000),
        max_partition_size: Some(80_000),
    });
    scene.topic_with("computed", spec).await;
    let spec = TopicSpec::new_assigned(vec![(0, vec![5001]), (1, vec![5001])]);
    scene.topic_with("assigned", spec).await;
    list(scene).await;
    let there = scene.name("there");
    for filter in [there.clone(), "missing".to_owned(), String::new()] {
        let listed = scene.admin.list::<TopicSpec, _>(vec![filter.clone()]).await;
        let mut names: Vec<_> = listed.unwrap().into_iter().map(|it| it.name).collect();
        names.retain(|it| scene.owns(it));
        names.sort();
        scene.note(format!("topics named {filter:?}: {names:?}"));
        let listed = scene
            .admin
            .list::<PartitionSpec, _>(vec![filter.clone()])
            .await;
        let mut names: Vec<_> = listed.unwrap().into_iter().map(|it| it.name).collect();
        names.retain(|it| scene.owns(it));
        names.sort();
        scene.note(format!("partitions named {filter:?}: {names:?}"));
    }
}

async fn growing(scene: &mut Scene) {
    scene.section("more partitions");
    let add = |count| UpdateTopicAction::AddPartition(AddPartition { count });
    let there = scene.name("there");
    let assigned = scene.name("assigned");
    for (name, count) in [
        ("missing", 1),
        ("consumer-offset", 1),
        (&*assigned, 1),
        (&*there, 0),
        (&*there, 2),
    ] {
        let updated = within(scene.admin.update::<TopicSpec>(name, add(count))).await;
        scene.note(format!("{name}, {count} more: {}", answer(updated)));
    }
    eventually(async || {
        let partitions = scene.admin.all::<PartitionSpec>().await.unwrap();
        let online = partitions.iter().filter(|it| it.status.is_online());
        (online.filter(|it| it.name.starts_with(&there)).count() == 3).then_some(())
    })
    .await;
    list(scene).await;
}

async fn deleting(scene: &mut Scene) {
    scene.section("deleted");
    let there = scene.name("there");
    for name in [&*there, "missing", "", "consumer-offset"] {
        let deleted = within(scene.admin.delete::<TopicSpec>(name)).await;
        scene.note(format!("{name}: {}", answer(deleted)));
    }
    eventually(async || {
        let topics = scene.admin.all::<TopicSpec>().await.unwrap();
        let partitions = scene.admin.all::<PartitionSpec>().await.unwrap();
        let gone = topics.iter().all(|it| it.name != there)
            && partitions.iter().all(|it| !it.name.starts_with(&there));
        gone.then_some(())
    })
    .await;
    let deleted = within(scene.admin.delete::<TopicSpec>(there)).await;
    scene.note(format!("again: {}", answer(deleted)));
    list(scene).await;
}
