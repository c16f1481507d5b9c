//! A host that dies while WECs register and works flow, and what it must know afterwards.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::harness::Host;
use crate::harness::PATIENCE;
use crate::work::work;

/// Works acknowledged before the host is killed. More may follow until it is dead.
const WORKS_MIN: usize = 6;

/// Creates works until the host is dead, and kills it in the midst of that; gives the number of
/// works that were acknowledged: they are `work-0`, `work-1` and so on.
fn create_works_until_killed(host: &Host) -> usize {
    let acknowledged = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let number = acknowledged.load(Ordering::SeqCst);
                let text = work(&format!("work-{number}"), &format!("value-{number}"));
                let path = host.file("work.yaml", &text);
                let line = format!("kubectl --context its1 create -f {}", path.display());
                if host.run(&line).code != Some(0) {
                    return;
                }
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        });
        let deadline = Instant::now() + PATIENCE;
        while acknowledged.load(Ordering::SeqCst) < WORKS_MIN {
            assert!(Instant::now() < deadline, "no works are acknowledged");
            std::thread::yield_now();
        }
        host.signal("KILL");
    });
    acknowledged.into_inner()
}

#[test]
fn a_killed_host_comes_back_with_everything_it_acknowledged() {
    let mut host = Host::its(&["cluster1", "cluster2", "cluster3"]);
    host.register("its1", "cluster1", "--singleton");
    // When the host dies, the second WEC is accepted and has hardly got its certificate; the third
    // has just been told to ask.
    host.join("its1", "cluster2", "--singleton");
    host.run("clusteradm --context its1 --timeout 60 accept --clusters cluster2 --wait")
        .ok();
    host.join("its1", "cluster3", "--singleton");
    let requests = "kubectl --context its1 get csr -o name";
    let before = host.run(requests).ok();
    let uid = "kubectl --context its1 get managedcluster cluster1 cluster2 -o jsonpath='{.items[*].metadata.uid}'";
    let uids = host.run(uid).ok();
    let process = host.process_id();
    let acknowledged = create_works_until_killed(&host);
    host.kill();
    host.run(uid).refused(&[]);
    host.pods_end(process);

    host.start("serve");
    assert_eq!(host.run(uid).ok(), uids);
    let works = "kubectl --context its1 -n cluster1 get manifestworks -o name";
    let works = host.run(works).ok();
    for number in 0..acknowledged {
        let end = format!("/work-{number}");
        let found = works.lines().any(|line| line.ends_with(&end));
        assert!(found, "{end} was acknowledged, and is not among\n{works}");
    }
    let after = host.run(requests).ok();
    for request in before.lines() {
        assert!(after.contains(request), "{request} is not among\n{after}");
    }
    // Nobody accepts anything again; the third WEC is accepted for the first time.
    for wec in ["cluster1", "cluster2"] {
        host.until_available("its1", wec);
    }
    host.run("clusteradm --context its1 --timeout 60 accept --clusters cluster3 --wait")
        .ok();
    host.until_available("its1", "cluster3");
    for number in 0..acknowledged {
        reaches(&host, &format!("work-{number}"), &format!("value-{number}"));
    }
    // The agents work again, not only their last status.
    let path = host.file("work.yaml", &work("afterwards", "new"));
    host.run(&format!(
        "kubectl --context its1 create -f {}",
        path.display()
    ))
    .ok();
    reaches(&host, "afterwards", "new");
}

/// Waits until a work's object is in the WEC.
fn reaches(host: &Host, name: &str, value: &str) {
    let line =
        format!("kubectl --context cluster1 get configmap {name} -o jsonpath='{{.data.greeting}}'");
    host.until(&line, |ran| ran.out == value);
}

/// Enough for a space of its own, and for some hundred KiB of what is in it; in blocks.
const SMALL_DISK_BLOCKS: u32 = 3_000;
/// Objects tried at most until the disk is full: each is 100 KB, and the disk has 1.5 MB.
const LARGE_OBJECTS_MAX: usize = 60;

#[test]
fn a_full_disk_ends_writing_but_loses_nothing() {
    let mut host = Host::prepare();
    host.start_on_small_disk(SMALL_DISK_BLOCKS);
    host.run(&format!(
        "hyades space create its1 {}",
        host.data_dir_flag()
    ))
    .ok();
    let path = host.file("large", &"x".repeat(100_000));
    let create = |number: usize| {
        host.run(&format!(
            "kubectl --context its1 create configmap large-{number} --from-file {}",
            path.display()
        ))
    };
    let failed = (0..LARGE_OBJECTS_MAX)
        .map(|number| (number, create(number)))
        .find(|(_, ran)| ran.code != Some(0));
    let (acknowledged, failed) = failed.expect("the disk is full at some time");
    assert!(acknowledged > 0, "something fits: {failed}");
    failed.refused(&["Internal error occurred"]);
    // What is there can still be read, and the space says that it takes nothing more.
    let count = "kubectl --context its1 get configmaps -o name | grep -c large-";
    assert_eq!(host.run(count).ok(), format!("{acknowledged}\n"));
    create(LARGE_OBJECTS_MAX).refused(&["Internal error occurred"]);

    host.kill();
    host.start("serve");
    let after = host.run(count).ok();
    let after: usize = after.trim().parse().expect("a number");
    // The write that failed may have reached the disk: it was not acknowledged, and not denied.
    assert!(
        (acknowledged..=acknowledged + 1).contains(&after),
        "{after}, {acknowledged}"
    );
    host.run("kubectl --context its1 create configmap small")
        .ok();
}

#[test]
fn a_space_that_finds_no_room_is_not_half_made() {
    let mut host = Host::prepare();
    host.start_on_small_disk(200);
    host.run(&format!(
        "hyades space create its1 {}",
        host.data_dir_flag()
    ))
    .refused(&["its1", "File too large"]);
    let spaces = host
        .run(&format!("hyades space list {}", host.data_dir_flag()))
        .ok();
    assert!(!spaces.contains("its1"), "{spaces}");
    let left = std::fs::read_dir(host.data_dir().join("spaces")).map(|entries| entries.count());
    assert_eq!(left.expect("the folder of spaces"), 0);
    let contexts = host.run("kubectl config get-contexts -o name").ok();
    assert_eq!(contexts, "");
}
