/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel half as user space sees it: programs, maps, pins, generations. Room prefix dp_. All state is in the
 * pins: dp_open() adopts what is there, dp_close() leaves it deciding.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bailey/conf.h"
#include "bailey/event.h"
#include "bailey/maps.h"
#include "base/err.h"
#include "policy/image.h"

struct dp;

/* How much an instance can hold; 0: the limit of abi.h. An instance keeps the sizes that it was made with. */
struct dp_sizes {
	uint32_t flows, frags, rates;
	uint32_t addrs, identities;
	uint32_t verdicts, rules;            /* of both slots */
	uint32_t event_bytes, capture_bytes; /* powers of two, of whole pages */
};

extern const struct dp_sizes dp_sizes_small; /* about 4 MiB: one machine of several on a host */

/* The host's own network device (dp_host_open). */
enum dp_host_mode {
	DP_HOST_AUTO, /* the best that works */
	DP_HOST_NATIVE,
	DP_HOST_GENERIC,
	DP_HOST_TC,
	DP_HOST_DISPATCHER, /* XDP beside others' programs, in libxdp's dispatcher */
};

/* `rate` a second, `burst` at once; rate 0: no limit. */
struct dp_limit {
	uint32_t rate, burst;
};

struct dp_host_options {
	enum dp_host_mode mode;
	uint16_t wg_port;           /* open by itself for WireGuard's messages; 0: none */
	struct dp_limit flows;      /* new ones from one source */
	struct dp_limit handshakes; /* WireGuard's, from one source */
	struct dp_limit handshakes_total;
	struct dp_limit syns; /* that reach the stack, in total: those above get SYN cookies */
};

struct dp_options {
	uint32_t l3_offset; /* 0: packets (WireGuard, TUN); 14: Ethernet frames */
	bool is_workload; /* the machine is behind the device (tap, veth, bridge port): it sends what the host receives
			   */
	enum by_topology topology; /* of the overlay */
	bool no_pairs;             /* keep no counters per peer */
	uint16_t vlan[2];          /* Ethernet: tags that each frame must have, outer and inner; 0: none */
	uint8_t mac[6];            /* Ethernet: the machine's; all 0: whatever it says */
	struct dp_sizes sizes;
	struct dp_host_options host;
};

/*
 * Loads the objects or adopts the pins under <bpffs>/bailey/<instance>/v<ABI>/ (created; bpffs must be mounted).
 * instance: [a-z0-9-], at most 32 characters. options NULL: the overlay's.
 */
int dp_open(const char *bpffs, const char *instance, const struct dp_options *options, struct dp **dp, struct err *e);
void dp_close(struct dp *dp); /* accepts NULL; pins and attachments stay */
/* Detaches from ifindex (0: no device is left) and removes every pin of the instance. */
int dp_destroy(const char *bpffs, const char *instance, unsigned ifindex, struct err *e);

/*
 * Flows tracked in maps of another layout (another v<ABI>) can not be carried over: -EBUSY with what to do when there
 * are any, so that a start does not cut them by itself. To forget them lets go of the maps' names alone: the other's
 * programs decide with them until dp_attach().
 */
int dp_flows_check(const char *bpffs, const char *instance, struct err *e);
int dp_flows_forget(const char *bpffs, const char *instance, struct err *e);

/* Puts the programs on both directions of a device, replacing an older daemon's in one step. Idempotent. */
int dp_attach(struct dp *dp, unsigned ifindex, struct err *e);
const char *dp_attach_mode(const struct dp *dp); /* "tcx", "clsact" or "none" */

struct dp_identity {
	uint8_t app_id[BY_APP_ID_LEN];
	uint8_t instance_id[BY_INSTANCE_ID_LEN]; /* the key: an instance keeps its number */
	char node[BY_NODE_NAME_LEN];
	uint32_t flags; /* BY_IDENT_* */
	bool is_local;  /* this node: gets BY_IDENT_LOCAL */
	struct by_addr addrs[8];
	uint32_t n_addrs;
	uint32_t peer_class; /* in the live slot */
	uint32_t via;        /* the interface that it comes by; 0: none, it is this host. dp_via_second(): or goes by */
};

/* Adds or changes one; addresses no longer named are removed. A changed class re-judges tracked flows. */
int dp_identity_set(struct dp *dp, const struct dp_identity *id, uint32_t *identity, struct err *e);
/*
 * The same for many, in a few system calls. Returns the error of the first that can not be set, and is not there any
 * more; *n_set are before it. Which of those after it are set is not said: call again for them.
 */
int dp_identities_set(struct dp *dp, const struct dp_identity *id, size_t n, size_t *n_set, struct err *e);
/* Addresses go first, so the next packet has no identity; then tracked flows are re-judged. */
int dp_identity_remove(struct dp *dp, const uint8_t instance_id[BY_INSTANCE_ID_LEN], struct err *e);
/* Does WireGuard know the peer? A packet to one that is asleep is dropped as PEER_ASLEEP. Until the next set. */
int dp_asleep_set(struct dp *dp, const uint8_t instance_id[BY_INSTANCE_ID_LEN], bool is_asleep);  /* 0 or -errno */
int dp_pair_get(struct dp *dp, const uint8_t instance_id[BY_INSTANCE_ID_LEN], struct by_pair *n); /* likewise */
size_t dp_identity_count(const struct dp *dp);
bool dp_identity_find(const struct dp *dp, uint32_t identity, struct dp_identity *out);
bool dp_identity_get(const struct dp *dp, size_t i, uint32_t *identity, struct dp_identity *out);

/* --- the second device of a key rotation (overlay's alone) --- */

/* From now on what comes by it is judged as if it had come by the first, and only what the first has judged leaves. */
int dp_second_attach(struct dp *dp, unsigned ifindex, struct err *e);
int dp_second_remove(struct dp *dp, struct err *e); /* the device itself goes by another hand */
/* `via` of an identity whose packets shall leave by it: the next one does. */
uint32_t dp_via_second(unsigned ifindex);
int dp_via_set(struct dp *dp, const uint8_t instance_id[BY_INSTANCE_ID_LEN], uint32_t via, struct err *e);
uint32_t dp_via_get(const struct dp *dp, const uint8_t instance_id[BY_INSTANCE_ID_LEN]); /* 0: nobody, or none */

/*
 * Loads an image (checked by pol_image_check) into the slot that does not decide, reads it back, then flips. On any
 * error before the flip the live policy is untouched. Members missing from the image get class 0.
 */
int dp_policy_commit(struct dp *dp, const struct pol_image *img, struct err *e);
/* The steps by themselves, for tests and crash tests. */
int dp_policy_stage(struct dp *dp, const struct pol_image *img, struct err *e);
int dp_policy_flip(struct dp *dp, struct err *e);

/* --- machines on this host --- */

/*
 * The datapath of one machine behind a tap, veth or bridge port, in a directory of its own in the instance's. name: as
 * an instance's, at most 15 characters. dp_attach() is for the device that leads to it.
 */
int dp_workload_open(const char *bpffs, const char *instance, const char *name, const struct dp_options *options,
		     struct dp **dp, struct err *e);
int dp_workload_destroy(const char *bpffs, const char *instance, const char *name, struct err *e);
/* Every one that has pins. `fn` may destroy it. */
typedef int (*dp_workload_fn)(const char *name, void *arg, struct err *e);
int dp_workloads(const char *bpffs, const char *instance, dp_workload_fn fn, void *arg, struct err *e);

/* --- the host's own network device --- */

/*
 * Programs and maps for the host's device, in a directory of their own beside the overlay's. The policy is an image of
 * pol_compile_host(); identities have no part in it. Everything above that takes a struct dp works but dp_attach().
 */
int dp_host_open(const char *bpffs, const char *instance, const struct dp_host_options *options, struct dp **dp,
		 struct err *e);
/* Replaces an older daemon's programs without a gap. Another's XDP program is never touched. Idempotent. */
int dp_host_attach(struct dp *dp, unsigned ifindex, struct err *e);
/* Removes the host's part of an instance alone. ifindex 0: not known; where tc has no links its filters then stay. */
int dp_host_destroy(const char *bpffs, const char *instance, unsigned ifindex, struct err *e);

struct dp_host_status {
	char attach[24];      /* "dispatcher-" or "xdp-" and "native" or "generic"; "tcx", "clsact"; "none" */
	char not_better[240]; /* why nothing before it in this order was taken; "" */
	char no_cookies[120]; /* why SYNs are not answered with cookies; "": they are */
};

void dp_host_status(const struct dp *dp, struct dp_host_status *st);

/*
 * libxdp asks for programs by number, which takes CAP_SYS_ADMIN. A process that does without it forks one that has it
 * and does nothing else than this, before it drops its own: the child calls dp_dispatcher_serve(), which returns when
 * the other end is closed; the parent calls dp_dispatcher_helper(). Without a helper the caller's own do.
 */
bool dp_dispatcher_is_possible(void); /* the kernel replaces functions of XDP programs */
void dp_dispatcher_serve(int fd);
void dp_dispatcher_helper(int fd); /* takes it */

/* --- what it did --- */

struct dp_status {
	struct by_gen gen;
	size_t n_identities, n_addrs, n_flows, n_rules;
	struct by_counter stat[BY_DIR_COUNT][BY_DROP_COUNT]; /* reason NONE: passed */
	uint64_t events_lost;                                /* suppressed in the kernel or no room in the ring */
};

int dp_status_get(struct dp *dp, struct dp_status *st, struct err *e);
struct by_gen dp_gen(const struct dp *dp); /* what decides now */
int dp_rule_get(struct dp *dp, uint32_t slot, uint32_t rule, struct by_rule *meta, struct by_counter *hits);

/* Ring buffer: poll `fd` for reading, then dp_events_read() calls back once per record. One reader at a time. */
typedef void (*dp_event_fn)(const struct by_event *ev, void *arg);
int dp_events_open(struct dp *dp, dp_event_fn fn, void *arg, int *fd, struct err *e);
int dp_events_read(struct dp *dp);
int dp_events_lost(struct dp *dp, uint64_t *n); /* held back in the kernel or no room in the ring, since ever */

/* A tracked flow, as the programs see it in this moment. */
struct dp_flow {
	struct by_ct_key key;
	struct by_ct ct;
	uint32_t peer; /* identity, 0: its address has none any more */
	uint64_t idle_ms, age_ms;
	bool is_over;   /* idle for too long: its next packet is judged as a new one */
	bool is_judged; /* by what decides now; else its next packet is judged again */
};

typedef int (*dp_flow_fn)(const struct dp_flow *flow, void *arg); /* anything but 0 ends the walk and is returned */
int dp_flows(struct dp *dp, dp_flow_fn fn, void *arg, struct err *e);

/* A place in maps that change meanwhile; starts zeroed. Plain bytes: another process may carry them. */
struct dp_place {
	uint64_t token[8]; /* opaque; as long as a key at most, and no key here is longer than 64 bytes */
	uint32_t at_map;   /* of those that are walked one after the other */
	bool is_inside, is_over;
};

/* The next flows from `at` on, `chunk` at most. What comes or goes meanwhile may be missed or shown twice. */
int dp_flows_on(struct dp *dp, struct dp_place *at, uint32_t chunk, dp_flow_fn fn, void *arg, struct err *e);

/* The rules of the live slot that decided something. */
typedef int (*dp_rule_fn)(uint32_t rule, const struct by_counter *hits, void *arg);
int dp_rule_hits(struct dp *dp, dp_rule_fn fn, void *arg, struct err *e);

/* What this node and each peer sent each other since the peer joined; the sum of all CPUs. */
typedef int (*dp_pair_fn)(uint32_t identity, const struct by_pair *pair, void *arg);
int dp_pairs(struct dp *dp, dp_pair_fn fn, void *arg, struct err *e);

/* A packet that nobody sends: the first one of a flow. */
struct dp_question {
	enum by_dir dir;
	struct by_addr local, peer; /* of one family */
	uint32_t selector;          /* BY_PORT_*: what it asks for */
};

struct dp_answer {
	enum by_drop reason; /* NONE: it would pass */
	struct by_gen gen;   /* what decided */
	uint32_t rule;       /* key of dp_rule_get(), 0: the default */
	uint32_t audit;      /* audit rule that would drop it, 0: none */
	uint32_t peer;       /* identity, 0 unknown */
	uint8_t rule_flags;  /* BY_RULE_* */
};

/* Asks the loaded program itself, which neither counts nor tells nor remembers it and takes no token of a rate. */
int dp_ask(struct dp *dp, const struct dp_question *q, struct dp_answer *answer, struct err *e);

/*
 * Dropped packets, at most snaplen (up to BY_SNAPLEN_MAX) bytes of each and a bounded number a second, from open to
 * close. Poll `fd` for reading, then dp_capture_read() calls back once per record. One reader at a time.
 */
typedef void (*dp_capture_fn)(const struct by_capture *rec, void *arg);
int dp_capture_open(struct dp *dp, uint32_t snaplen, dp_capture_fn fn, void *arg, int *fd, struct err *e);
int dp_capture_read(struct dp *dp);
void dp_capture_close(struct dp *dp);
int dp_capture_lost(struct dp *dp, uint64_t *lost, struct err *e); /* ever: over the rate, or no room in the ring */

/* --- what the kernel has --- */

struct dp_feature {
	const char *name, *used_for;
	bool is_needed; /* nothing goes without it */
	int has;        /* 1, 0, or -errno: it does not say */
};

struct dp_features {
	void (*fn)(const struct dp_feature *f, void *arg);
	void *arg;
};

/* Asks the kernel for each thing that the programs use, not for its version. Takes CAP_BPF. */
void dp_features(const struct dp_features *f);
/* XDP and tcx programs on a device that are not Bailey's, and of Bailey's (by_...) all but the first of a hook. */
void dp_foreign_programs(unsigned ifindex, void (*fn)(const char *hook, const char *name, uint32_t id, void *arg),
			 void *arg);

const char *dp_drop_name(unsigned reason); /* "POLICY_DENY" */
const char *dp_drop_text(unsigned reason);
