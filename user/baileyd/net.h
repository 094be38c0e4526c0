/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The net process inside: role_net.c (life, requests), net_peers.c (WireGuard's side of the nodes), net_report.c (what
 * it tells the parent), net_lazy.c (peers that are configured when somebody talks to them), net_capture.c (dropped
 * packets), net_divert.c (captured destinations), net_guard.c (sockets of a mesh), net_underlay.c (the host's own
 * device), net_workloads.c (machines behind this host).
 */
#pragma once

#include <event2/event.h>

#include "base/hash.h"
#include "ipc.h"
#include "msg.h"

struct net;

/* A datapath with its own policy. */
struct target {
	struct net *net;
	struct msg_target conf;
	struct dp *dp;     /* NULL: there is no such target */
	unsigned ifindex;  /* of the underlay's or a workload's device, while our programs are on it */
	char trouble[320]; /* why a workload's is not guarded */
	struct event *ring;
	bool is_told;
	struct msg_loss told; /* what the parent knows of lost events */
	struct event *capture;
	uint64_t packets_held, packets_told; /* not forwarded; lost ones that the parent knows of */
};

/* A node as one target or several know it, and its WireGuard half. The identity half is in the datapaths. */
struct peer {
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint64_t named;         /* bit per target: the parent named it there */
	bool has_wg, is_behind; /* a peer of the overlay's WireGuard; reached by way of one, so never this node */
	struct ov_peer wg;
	bool has_detour; /* its record names the key of its second device */
	uint8_t detour_key[OV_KEY_LEN];

	/* net_lazy.c */
	bool is_settled; /* it was decided whether it sleeps */
	bool is_asleep;  /* WireGuard shall not have it */
	bool is_marked;  /* the datapath knows that it sleeps */
	int64_t woken_s; /* 0: not lately */
	int64_t used_s;
	uint64_t used_packets;

	size_t pos; /* in net.peers */
	struct hash_item by_instance;
};

/* The second device, while a key is rotated: this node's or a peer's. */
struct detour {
	struct ov *ov;    /* NULL: there is none */
	unsigned ifindex; /* of the device; 0: none is there */
	uint32_t phase;   /* of this node's own rotation */
	uint8_t key[OV_KEY_LEN];
	int64_t rekeyed_s; /* when the first device got its key: sessions of before send nothing any more */
	int64_t second_s;  /* when the second one did */
	uint8_t second_key[OV_KEY_LEN]; /* the one that it got; zero: not known yet */
	uint64_t rx_packets;            /* of the device that shall be quiet, at the last look */
	uint32_t quiet_s;               /* since then nothing came */
	bool is_told;                   /* the parent knows of it */
	char trouble[320];
};

struct net {
	struct event_base *base;
	struct ipc *parent;
	struct msg_net_conf conf;
	struct target targets[TARGETS_MAX];
	uint32_t n_targets; /* numbers in use are below; 0: not configured yet */
	struct ov *ov;
	struct detour detour;
	struct dp_divert *divert; /* NULL: nothing is captured */
	struct dp_divert_conf divert_conf;
	struct dp_guard *guard; /* NULL: no mesh is guarded */
	struct dp_guard_conf guard_conf;
	struct peer **peers; /* in no order */
	size_t n_peers, cap_peers;
	struct hash by_instance;
	bool is_lazy; /* there are more than conf.lazy_peers */
	uint64_t n_woken;
	bool is_synced;      /* all nodes were named once; from then on changes go to the device at once */
	struct event *tick;  /* each second */
	struct event *links; /* a network device came, went or was renamed */
	bool is_capturing;
	struct event *apply; /* coalesces a burst of changes into one reconcile */
	uint64_t events_held;
};

/* net_peers.c */
struct peer *peer_find(const struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN]);
bool peer_is_named(const struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN], uint32_t target);
void peers_forget_target(struct net *net, uint32_t target);
int peer_name(struct net *net, const struct msg_node_set *m); /* 0 or -ENOMEM */
void peer_forget(struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN], uint32_t target);
void peers_fini(struct net *net);
void device_apply_soon(struct net *net);
int device_apply(struct net *net, struct err *e); /* makes the device what the peers say; sessions go on */

/* net_detour.c */
void detour_find(struct net *net);
int detour_rotate(struct net *net, const struct msg_rotate *m, struct err *e);
uint32_t detour_via(const struct net *net, const struct msg_node_set *m); /* as it is in the kernel */
uint16_t detour_keepalive(const struct net *net, const struct peer *p);   /* of its peer on the first device */
bool detour_holds(const struct net *net, const struct peer *p);           /* it does not fall asleep now */
int detour_apply(struct net *net, struct err *e);                         /* as device_apply() */
void detour_watch(struct net *net);                                       /* each second */
void detour_count(const struct net *net, const struct ov_device *second, struct msg_peer *m); /* adds what it has */
int detour_read(const struct net *net, struct ov_device *second);                             /* 0, or it has none */
void detour_fini(struct net *net);

/* net_lazy.c */
void lazy_settle(struct net *net);  /* who sleeps: before the device is made to match */
void lazy_applied(struct net *net); /* and after */
uint16_t lazy_keepalive(const struct net *net, const struct peer *p);
/* True: the device is to be made to match. */
bool lazy_wake(struct net *net, const uint8_t instance_id[BY_INSTANCE_ID_LEN]);
bool lazy_tick(struct net *net); /* each second */
uint32_t lazy_asleep(const struct net *net);

/* net_underlay.c */
int underlay_open(struct target *t, struct err *e);
int underlay_attach(struct target *t, struct err *e); /* once a policy decides; nothing to do where it is done */
void underlay_watch(struct net *net);                 /* each second */
int underlay_remove_unnamed(struct net *net, struct err *e);

/* net_report.c */
int open_ring(struct target *t, struct err *e);
void send_losses(struct net *net);
void send_status(struct net *net, const struct msg_ask_status *request);
void send_flow_page(struct net *net, const struct msg_ask_flows *request);
void send_asked(struct net *net, const struct msg_ask *request);

/* net_workloads.c */
int workload_open(struct target *t, struct err *e);
int workload_close(struct net *net, uint32_t target, struct err *e); /* its pins go, too */
int workloads_prune(struct net *net, struct err *e);                 /* what an earlier daemon left and nobody named */
void workloads_watch(struct net *net);                               /* guards devices that have come */
int links_open(struct net *net);
uint32_t way_of(const struct net *net, uint32_t way); /* the interface; 0: none */

/* net_divert.c */
int divert_set(struct net *net, const struct dp_divert_conf *conf, struct err *e);
void divert_watch(struct net *net); /* each second */
void divert_status(struct net *net, struct msg_status *m);
void divert_page(struct net *net, struct msg_flow_page *page);

/* net_guard.c */
int guard_set(struct net *net, const struct dp_guard_conf *conf, struct err *e);
void guard_watch(struct net *net); /* each second */
void guard_status(struct net *net, struct msg_status *m);

/* net_capture.c */
int capture_start(struct target *t, struct err *e);
void capture_stop(struct target *t);
int capture_set(struct net *net, bool is_on, struct err *e);
void capture_losses(struct net *net); /* each second */
