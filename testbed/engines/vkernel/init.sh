# SPDX-License-Identifier: Apache-2.0
# The first process of a guest, run by the host's own /bin/sh. Its root is the host's file system, read-only; the
# job folder is at /dev/job already (see boot.py). Every program started here costs some 5 ms of real time.
spec=/dev/job/.guest
mount -n -t proc proc /proc

# What the job needs (project, interpreter) may lie below a folder that gets a file system of its own: put it aside.
while read -r number path; do
    mkdir -p "/dev/keep/$number" && mount -n --bind "$path" "/dev/keep/$number"
done < $spec/keep

mount -n -a -T $spec/fstab

while read -r number path; do
    mkdir -p "$path" && mount -n --move "/dev/keep/$number" "$path"
done < $spec/keep

mkdir -p /run/job /run/netns /run/lock
mount -n --move /dev/job /run/job
spec=/run/job/.guest

ip link set lo up

# All that is started from here may be woken at the nanosecond it asks for, instead of up to 50 us later.
echo 1 > /proc/$$/timerslack_ns
# Timers have a grain of 10 ms until the kernel has found its high-resolution clock, some ticks after the boot.
sleep 0.1

sh $spec/run
echo $? > $spec/status
sync
echo o > /proc/sysrq-trigger
sleep 1000
