#!/bin/busybox sh
# First program of the lab's machine: mounts the host's files over 9p, read-only, as the root, and
# the guest's file systems over them; then runs /run/lab/command, which the host wrote.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev

end() {
    echo "lab: $1"
    poweroff -f
}

for module in /modules/*; do
    [ ! -e "$module" ] || insmod "$module" || echo "lab: $module can't be loaded"
done

options=trans=virtio,version=9p2000.L,msize=1048576
# The host's files don't change during a test, so they may be cached.
mount -t 9p -o "ro,cache=loose,$options" host /root || end "no 9p: the host's files can't be mounted"

# Folders in the host's /tmp and /run that the run needs are kept below the guest's.
number=0
while read -r kept; do
    number=$((number + 1))
    mkdir "/keep/$number"
    mount -o bind "/root$kept" "/keep/$number"
done </keep/list
for folder in tmp run; do
    mount -t tmpfs -o mode=1777 "$folder" "/root/$folder"
done
number=0
while read -r kept; do
    number=$((number + 1))
    mkdir -p "/root$kept"
    mount -o move "/keep/$number" "/root$kept"
done </keep/list

mkdir -p /root/run/lab
mount -t 9p -o "$options" lab /root/run/lab || end "no 9p: the command can't be read"
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/shm /root/dev/pts
mount -t tmpfs -o mode=1777 shm /root/dev/shm
mount -t devpts -o ptmxmode=666 pts /root/dev/pts
for link in fd:fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
    ln -sf "/proc/self/${link#*:}" "/root/dev/${link%%:*}"
done
mount -t debugfs debug /root/sys/kernel/debug
mount -t tracefs trace /root/sys/kernel/tracing
mount -t securityfs security /root/sys/kernel/security 2>/dev/null
mount -t cgroup2 cgroup /root/sys/fs/cgroup
for controller in $(cat /root/sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/root/sys/fs/cgroup/cgroup.subtree_control
done

hostname damon-lab
ip link set lo up
chroot /root /bin/sh /run/lab/command
poweroff -f
