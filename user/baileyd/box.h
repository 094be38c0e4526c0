/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each process gives up before it reads its first message. Failing to give it up ends the process.
 *
 *   net   keeps CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON (the verifier's pointer rules), no other; can not gain any.
 *   dispatcher  a child of net that has CAP_SYS_ADMIN besides, without which libxdp can not ask for others' programs:
 *         it talks with net alone, in fixed-size messages, and there is none where the kernel has no dispatcher.
 *   edge  keeps nothing: no capability, no group, an unprivileged uid, and a list of system calls that has no
 *         bpf(), no open(), no exec, no netlink and no unix socket in it.
 *   keys (of bailey-kms) and signer (of bailey-mesh) keep nothing and open nothing: they sign, on descriptors that they
 * have. dns is an edge that may also ask by UDP. relay (bailey-mesh's workers) is an edge that may also resolve names
 * over UDP and splice; where local applications may reach the guest agent through it, it may open Unix sockets. Started
 * without root there is no other user to become; the rest holds. asker (fetch, and bailey-kms's) keeps nothing either;
 * it may open files to read and any socket, as resolvers want it, but runs nothing, looks into no process and loads
 * nothing into the kernel. store (of bailey-vpc) the same for files, and it opens no socket.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

int box_net(struct err *e);
int box_dispatcher(struct err *e);
int box_edge(uid_t uid, gid_t gid, struct err *e);
int box_dns(uid_t uid, gid_t gid, struct err *e);
int box_keys(uid_t uid, gid_t gid, struct err *e);
int box_signer(uid_t uid, gid_t gid, struct err *e);
int box_relay(uid_t uid, gid_t gid, bool with_agent, struct err *e);
int box_asker(uid_t uid, gid_t gid, struct err *e);
int box_store(uid_t uid, gid_t gid, struct err *e);
