/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each process gives up before it reads its first message. Failing to give it up ends the process.
 *
 *   net   keeps CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON (the verifier's pointer rules), no other; can not gain any.
 *   dispatcher  a child of net that has CAP_SYS_ADMIN besides, without which libxdp can not ask for others' programs:
 *         it talks with net alone, in fixed-size messages, and there is none where the kernel has no dispatcher.
 *   edge  keeps nothing: no capability, no group, an unprivileged uid, and a list of system calls that has no
 *         bpf(), no open(), no exec, no netlink and no unix socket in it.
 *   asker (fetch, and bailey-kms's) keeps nothing either; it may open files to read and any socket, as resolvers want
 * it, but runs nothing, looks into no process and loads nothing into the kernel.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

int box_net(struct err *e);
int box_dispatcher(struct err *e);
int box_edge(uid_t uid, gid_t gid, struct err *e);
int box_keys(uid_t uid, gid_t gid, struct err *e);
int box_asker(uid_t uid, gid_t gid, struct err *e);
