//! The memory limit of the control group that this process is in.
//!
//! Owns which files the kernel tells it in: version 2 of control groups, version 1, and both at once. Not the swap's,
//! and not `memory.high`, above which the kernel slows a process down instead of killing it.

/// Where control groups are mounted. Inside of a container that has no namespace of its own for them the container's
/// own group may be mounted here, or all of the machine's.
const ROOT: &str = "/sys/fs/cgroup";
/// Version 1 says "none" by the largest number of whole pages; nobody means so much.
const NONE: u64 = 1 << 60;

/// The most memory that the kernel grants this process, in bytes; `None`: as much as there is, or nobody says.
pub fn of_this_process() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    least(&groups, &|path| std::fs::read_to_string(path).ok())
}

/// The least of the limits from the process's group up to the root. `groups`: the text of `/proc/self/cgroup`; `read`
/// gives the text of a file, if it is there.
fn least(groups: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let mut limits = Vec::new();
    for (group, version) in groups_of(groups) {
        for group in ancestors(group) {
            limits.extend(match version {
                2 => number(read(&format!("{ROOT}{group}/memory.max"))),
                _ => number(read(&format!("{ROOT}/memory{group}/memory.limit_in_bytes"))),
            });
            if version == 1 {
                // It counts the groups above, also those that can't be seen from here.
                let stat = read(&format!("{ROOT}/memory{group}/memory.stat")).unwrap_or_default();
                let hierarchical = stat
                    .lines()
                    .find_map(|line| line.strip_prefix("hierarchical_memory_limit "));
                limits.extend(number(hierarchical.map(str::to_owned)));
            }
        }
    }
    limits.into_iter().min()
}

/// The groups of the process that may limit its memory, each with the version of its hierarchy. The roots are always
/// among them: what is mounted there may be the process's own group, whatever its path is outside.
fn groups_of(groups: &str) -> impl Iterator<Item = (&str, u8)> {
    let listed = groups.lines().filter_map(|line| {
        let (hierarchy, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        // A group outside of the namespace, which can't be seen.
        if !group.starts_with('/') || group.split('/').any(|part| part == "..") {
            return None;
        }
        match (hierarchy, controllers) {
            ("0", "") => Some((group, 2)),
            _ => controllers
                .split(',')
                .any(|one| one == "memory")
                .then_some((group, 1)),
        }
    });
    listed.chain([("/", 2), ("/", 1)])
}

/// The group and those above it, as they stand before a slash: the root is empty.
fn ancestors(group: &str) -> impl Iterator<Item = &str> {
    let group = group.trim_end_matches('/');
    std::iter::successors(Some(group), |group| {
        group.rsplit_once('/').map(|(above, _)| above)
    })
}

/// A limit that is one: not `max`, nor the number that stands for none.
fn number(text: Option<String>) -> Option<u64> {
    text?.trim().parse().ok().filter(|limit| *limit < NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its name, the text of `/proc/self/cgroup`, the files that are there, and the limit.
    type Case = (
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        Option<u64>,
    );

    /// The limit of who reads these files.
    fn limit(groups: &str, files: &[(&str, &str)]) -> Option<u64> {
        least(groups, &|path| {
            let found = files.iter().find(|(name, _)| *name == path);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    /// What version 1 says without a limit, with pages of 4 KiB.
    const UNLIMITED: &str = "9223372036854771712\n";

    const DOCKER_1: &str = "\
12:perf_event:/docker/6b0cd6a4a8f0
11:memory:/docker/6b0cd6a4a8f0
3:cpu,cpuacct:/docker/6b0cd6a4a8f0
1:name=systemd:/docker/6b0cd6a4a8f0
";
    const KUBERNETES_1: &str = "\
11:cpuset,memory:/kubepods/burstable/pod2c48913c-b29f-11e7-9350-020968147796/9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961
0::/system.slice/containerd.service
";
    const FARGATE: &str = "\
9:memory:/ecs/0b69d5c0d65544fa95b0d4b8d9a8b4d5/0b69d5c0d65544fa95b0d4b8d9a8b4d5-1699283471
1:name=systemd:/ecs/0b69d5c0d65544fa95b0d4b8d9a8b4d5/0b69d5c0d65544fa95b0d4b8d9a8b4d5-1699283471
";
    const HYBRID: &str = "\
4:memory:/system.slice/weir.service
1:name=systemd:/system.slice/weir.service
0::/system.slice/weir.service
";

    #[test]
    fn the_limit_is_found_wherever_the_kernel_tells_it() {
        let cases: [Case; 16] = [
            (
                "a bare machine, version 2",
                "0::/user.slice/user-0.slice/session-1.scope\n",
                &[],
                None,
            ),
            (
                "Docker, version 2, and Kubernetes: a namespace of one's own",
                "0::/\n",
                &[("/sys/fs/cgroup/memory.max", "536870912\n")],
                Some(512 << 20),
            ),
            (
                "without a limit",
                "0::/\n",
                &[("/sys/fs/cgroup/memory.max", "max\n")],
                None,
            ),
            (
                "Docker, version 2, in the machine's namespace",
                "0::/system.slice/docker-6b0cd6a4a8f0.scope\n",
                &[
                    (
                        "/sys/fs/cgroup/system.slice/docker-6b0cd6a4a8f0.scope/memory.max",
                        "268435456\n",
                    ),
                    ("/sys/fs/cgroup/system.slice/memory.max", "max\n"),
                ],
                Some(256 << 20),
            ),
            (
                "its own group mounted at the root, its path the machine's",
                "0::/kubepods.slice/kubepods-pod2c48913c.slice/cri-containerd-9bca.scope\n",
                &[("/sys/fs/cgroup/memory.max", "134217728\n")],
                Some(128 << 20),
            ),
            (
                "Kubernetes, version 2: the pod's limit is below the container's",
                "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-9.scope\n",
                &[
                    (
                        "/sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/cri-containerd-9.scope/memory.max",
                        "max\n",
                    ),
                    (
                        "/sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/memory.max",
                        "201326592\n",
                    ),
                    ("/sys/fs/cgroup/kubepods.slice/memory.max", "8192000000\n"),
                ],
                Some(192 << 20),
            ),
            (
                "systemd's MemoryMax of a slice",
                "0::/weir.slice/weir-orders.service\n",
                &[
                    (
                        "/sys/fs/cgroup/weir.slice/weir-orders.service/memory.max",
                        "1073741824\n",
                    ),
                    ("/sys/fs/cgroup/weir.slice/memory.max", "314572800\n"),
                ],
                Some(300 << 20),
            ),
            (
                "Docker, version 1: its own group is mounted as the root",
                DOCKER_1,
                &[
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
                    (
                        "/sys/fs/cgroup/memory/memory.stat",
                        "cache 0\nhierarchical_memory_limit 536870912\n",
                    ),
                ],
                Some(512 << 20),
            ),
            (
                "Docker, version 1, without a limit",
                DOCKER_1,
                &[
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED),
                    (
                        "/sys/fs/cgroup/memory/memory.stat",
                        "hierarchical_memory_limit 9223372036854771712\n",
                    ),
                ],
                None,
            ),
            (
                "Kubernetes, version 1, with the machine's groups",
                KUBERNETES_1,
                &[
                    (
                        "/sys/fs/cgroup/memory/kubepods/burstable/pod2c48913c-b29f-11e7-9350-020968147796/9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961/memory.limit_in_bytes",
                        "402653184\n",
                    ),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED),
                ],
                Some(384 << 20),
            ),
            (
                "Fargate: the task has the limit, and the container can't see its group",
                FARGATE,
                &[
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED),
                    (
                        "/sys/fs/cgroup/memory/memory.stat",
                        "rss 8192\nhierarchical_memory_limit 1073741824\n",
                    ),
                ],
                Some(1 << 30),
            ),
            (
                "Fargate with version 2: the task's limit can't be seen, only one of the container's own",
                "0::/\n",
                &[("/sys/fs/cgroup/memory.max", "max\n")],
                None,
            ),
            (
                "both versions at once: version 1 has the memory",
                HYBRID,
                &[
                    (
                        "/sys/fs/cgroup/memory/system.slice/weir.service/memory.limit_in_bytes",
                        "209715200\n",
                    ),
                    (
                        "/sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes",
                        UNLIMITED,
                    ),
                ],
                Some(200 << 20),
            ),
            (
                "a group outside of the namespace leads nowhere",
                "0::/../../etc\n",
                &[
                    ("/sys/fs/cgroup/../../etc/memory.max", "1\n"),
                    ("/sys/fs/cgroup/memory.max", "536870912\n"),
                ],
                Some(512 << 20),
            ),
            (
                "no such file",
                "",
                &[("/sys/fs/cgroup/memory.max", "536870912\n")],
                Some(512 << 20),
            ),
            (
                "nonsense",
                "a\nb:c\n0:::\n\n",
                &[("/sys/fs/cgroup/memory.max", "lots\n")],
                None,
            ),
        ];
        for (name, groups, files, want) in cases {
            assert_eq!(limit(groups, files), want, "{name}");
        }
    }
}
