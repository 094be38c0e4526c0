/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent process: configuration, policy, desired state, supervision. Never a stranger's bytes: what it knows of
 * other nodes are structures that the edge verified, and record bytes that it stores without reading them.
 * Files: prepare.c (what must be there first), own.c (certificate, keys, the way to the agent), parent.c (start,
 * messages, end), nodes.c (who is known), life.c (which policy decides), workloads.c (machines behind this host),
 * plan.c (what net shall do), rotate.c (the WireGuard key's rotation), vpc.c (the control plane's word), dns.c (names),
 * report.c (what people see), trust.c (what evidence is judged by).
 */
#pragma once

#include <event2/event.h>

#include "base/hash.h"
#include "conf.h"
#include "ctl/server.h"
#include "life.h"
#include "msg.h"
#include "policy/policy.h"
#include "proc.h"
#include "trust.h"

#define REFUSALS_KEPT 32
#define EVENTS_KEPT   256                 /* of each kind */
#define EVENT_KINDS   (2 + BY_DROP_COUNT) /* flows, audited drops, drops by reason */

struct node {
	struct id_node id;
	char origin[MSG_ORIGIN_LEN];
	size_t pos;     /* in parent.nodes */
	uint64_t since; /* microseconds: when it was first known, of who wants a name the first one has it */
	struct hash_item by_instance;
	struct node_addr {
		struct hash_item by_addr;
		struct node *node;
	} addr[ID_MAX_ADDRS];
};

struct refusal {
	int64_t at; /* unix seconds, last time */
	uint32_t times;
	char origin[MSG_ORIGIN_LEN];
	struct err err;
};

struct seen_event {
	int64_t at;
	uint64_t number; /* of all events */
	struct msg_event m;
	char interface[IF_NAMESIZE], workload[WORKLOAD_NAME_LEN]; /* of its target then; "" where it is none */
};

/* What has a policy of its own (msg.h); its number is its place in parent.targets. */
struct target {
	enum target_kind kind;
	char interface[IF_NAMESIZE];
	struct pol_image *image; /* what net was last told to load; NULL: nothing yet */

	/* TARGET_IS_WORKLOAD */
	struct conf_workload workload;
	bool is_configured; /* in the configuration file; else added while the daemon ran */
	bool is_hot;        /* added just now: net has yet to open it */
	bool has_self;      /* its record was verified once: `self` */
	struct id_claims self;
};

struct net_report { /* one answer of net, being collected or the last one */
	bool is_known;
	struct msg_status status;
	struct msg_counts counts[TARGETS_MAX]; /* by target */
	struct rule_hits *rules;
	struct pair_count *pairs; /* where they were asked for */
	struct msg_peer *peers;
	size_t n_rules, n_pairs, n_peers;
};

struct event_log { /* the last ones of one kind */
	struct seen_event event[EVENTS_KEPT];
	uint64_t n;
};

/* Whose address it is. */
struct who {
	const char *node; /* NULL: nobody's */
	const uint8_t *app_id;
	const struct id_claims *claims;
};

struct loss { /* of one target, as net said last */
	bool is_known;
	uint64_t kernel;
};

struct monitor;     /* a reader of GET /v1/monitor */
struct capture;     /* a reader of GET /v1/capture */
struct flow_reader; /* of GET /v1/flows */
struct asker;       /* of GET /v1/policy/ask */
struct waiting;     /* a control request that waits for net's report */
struct adding;      /* of POST /v1/records/add */

struct parent {
	struct event_base *base;
	struct conf conf;
	struct pol_model *model; /* of the policy that decides */
	struct life life;
	struct target targets[TARGETS_MAX];
	uint32_t n_targets;
	struct err workload_err; /* of the last that net could not open */
	uint32_t policy_loads, policy_refusals;
	struct err policy_err; /* of the last that was refused, until one is taken */

	struct proc net, edge;
	struct proc status;   /* pid -1 where nobody may ask */
	bool is_status_asked; /* and net has not said yet */
	struct trust trust;
	int listen_fd[CONF_MAX_LISTEN], status_fd[CONF_MAX_LISTEN];
	char *cert_pem, *key_pem, *roots_pem;
	uint8_t wg_private[OV_KEY_LEN], wg_public[OV_KEY_LEN];

	struct { /* the phase is that of the key files */
		enum detour_phase phase;
		uint8_t second_private[OV_KEY_LEN], second_public[OV_KEY_LEN]; /* of the second device */
		int64_t key_s, phase_s; /* when the key came into use, when the phase began */
		struct msg_detour seen; /* as net said last */
		uint64_t done, forced;  /* forced: somebody was not where he should be */
		struct err err;         /* of the last that could not be begun or was given up */
	} rotate;

	bool is_listening; /* the edge hears handshakes (knock.c) */
	bool has_self;     /* the own certificate verified */
	bool is_loaded;    /* stored records were judged: nodes are complete */
	bool net_ok;       /* net took its configuration */
	bool is_synced;    /* and all that it was told after: it decides, on every device that is there */
	unsigned sync_in_s, sync_pause_s; /* until it is told all of it again, 0: it need not be; the next pause */
	struct id_claims self;
	struct id_record record;
	struct event *renew, *tick;

	struct {
		struct vpc_seen seen;
		bool is_up, is_dirty; /* dirty: `seen` is not on disk yet */
		uint32_t server;      /* the one that is_up is about */
		int64_t since_s;      /* when is_up last changed */
		uint8_t (*revoked)[BY_INSTANCE_ID_LEN];
		size_t n_revoked;
		int64_t revoked_saved_s; /* when the list was last written */
		bool is_revoked_dirty;   /* it was changed since */
	} vpc;

	struct {
		struct proc proc;
		bool is_started;  /* the overlay was up */
		unsigned ifindex; /* of it, and this node's addresses, as the sockets know them */
		struct by_addr addrs[ID_MAX_ADDRS];
		struct msg_dns_stats stats;
		struct msg_dns_forward forward;
		struct timespec read;        /* when resolv.conf was last changed, as it was last read */
		struct err err;              /* why a socket or this host's resolver is not as it should be */
		enum conf_resolver resolver; /* what was told: NONE, RESOLVED or FILE */
	} dns;

	struct msg_node_set unsent[NODES_AT_ONCE]; /* plan.c: of one target */
	size_t n_unsent;
	struct node **nodes; /* in no order */
	size_t n_nodes, cap_nodes;
	struct hash by_instance, by_addr;
	int64_t soonest_end;    /* no record ends before */
	const struct node *hub; /* of a spoke: by which it reaches the others; NULL: none is known */
	struct backlog {        /* paths of records that the edge judges again, a few at a time */
		char **path;
		size_t n, n_own, n_sent; /* the first n_own are this daemon's own writing */
		uint64_t mark;           /* the edge is done with those sent when it gives this back */
	} backlog;

	struct refusal refusals[REFUSALS_KEPT]; /* newest first */
	size_t n_refusals;
	uint64_t refused[ID_REASON_COUNT];    /* by reason, for metrics; [ID_NONE]: connections that failed */
	struct event_log events[EVENT_KINDS]; /* a flood of one kind leaves the others */
	uint64_t n_events;
	struct loss losses[TARGETS_MAX];
	uint64_t events_held;         /* as net said last */
	unsigned log_lines, log_held; /* of events, in this second */

	struct ctl *ctl;
	struct net_report collecting, report;
	struct waiting *waiting;
	struct flow_reader *flow_readers;
	struct asker *askers;
	struct capture *captures;
	struct adding *adding;
	uint64_t last_token;
	int64_t seen_swept_s; /* when seen.c last looked for what may be forgotten */
	struct monitor *monitors;
	struct follower *followers; /* report_peers.c */
	struct event *signals[4];
	int exit_status;
};

/* prepare.c */
int prepare(struct parent *p, struct err *e);
int prepare_user(struct parent *p, struct err *e); /* whom the edge runs as */

/* nodes.c */
struct node *node_find(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN]);
struct who node_who(struct parent *p, const struct by_addr *addr); /* this node, or one that is known */
int node_upsert(struct parent *p, const struct msg_node *m, const uint8_t *record, size_t len);
bool node_is_stored(const struct parent *p, const struct node *n);
int64_t node_until(const struct node *n);         /* end of the record or of the evidence */
void nodes_expire(struct parent *p, int64_t now); /* removes every node whose record has ended */
void node_revoke(struct parent *p, struct node *n);
void node_withdraw(struct parent *p, const struct msg_withdrawn *m);
void node_came(struct parent *p, struct ipc_msg *msg); /* MSG_EDGE_NODE */
void nodes_fini(struct parent *p);
/* To the edge: state directory, then the configured one. */
void nodes_send_stored(struct parent *p);
bool nodes_stored_done(struct parent *p, uint64_t mark); /* the edge gave back a mark; true: it was the last one */

/* seen.c: what outlives a node's record. Beside each stored record, and longer than it */
struct seen {
	enum id_fresh fresh; /* what the node proved in a session, and when */
	int64_t fresh_at;
	uint64_t since; /* microseconds */
	struct id_seen id;
};
void seen_path(const char *record, char path[PATH_MAX]);
/* 0 or -ENOENT: nothing was written, -EBADMSG: by nobody of us, or another error. An earlier daemon's has epoch 0. */
int seen_read(const char *record, struct seen *seen, struct err *e);
int seen_write(const char *record, const struct node *n, struct err *e);
/* To an edge that has just started. An error: it is not known what this node knew. */
int seen_send(struct parent *p, struct err *e);
void seen_tick(struct parent *p, int64_t now); /* each second */

/* knock.c: handshakes of nodes that WireGuard is not told of */
void knock_tick(struct parent *p);  /* each second */
void knock_rekey(struct parent *p); /* when a key has changed */
void knock_heard(struct parent *p, const struct msg_knock *m);

/* own.c */
int own_identity(struct parent *p, struct err *e);                         /* PEM files */
int own_wg_key(struct parent *p, struct err *e);                           /* made when there is none */
int own_wg_read(const char *path, uint8_t key[OV_KEY_LEN], struct err *e); /* -ENOENT: there is none */

/* rotate.c */
int rotate_load(struct parent *p, struct err *e); /* before own_wg_key(): finishes what a killed process began */
int rotate_begin(struct parent *p, struct err *e);
void rotate_send(struct parent *p); /* to a net that knows nothing */
void rotate_seen(struct parent *p, const struct msg_detour *m);
void rotate_tick(struct parent *p); /* each second */
json_t *rotate_json(const struct parent *p, int64_t now);
void report_on_rotate(struct evhttp_request *req, void *arg);

/* vpc.c: the network's control plane, where there is one, and who was revoked */
int vpc_load(struct parent *p, struct err *e);
/* conf.vpc.key, of the file that `conf` names. */
int vpc_key_load(const struct parent *p, struct conf *conf, struct err *e);
void vpc_change(struct parent *p, const struct conf *fresh); /* `vpc:` as a reload found it; the edge is told */
void vpc_fini(struct parent *p);
bool vpc_has_addresses(const struct parent *p); /* configured, or granted once */
void vpc_send_revoked(struct parent *p);
void vpc_send_join(struct parent *p);
bool vpc_on_message(struct parent *p, const struct ipc_msg *msg); /* of the edge's; false: of something else */
void vpc_on_revoked(struct parent *p, const struct msg_revoked *m);
void vpc_tick(struct parent *p); /* each second */

/* dns.c: names of nodes, and the process that answers for them */
int dns_init(struct parent *p, struct err *e);
void dns_overlay_up(struct parent *p); /* again whenever net has done all */
void dns_node(struct parent *p, const struct node *n);
void dns_node_gone(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN]);
void dns_names_again(struct parent *p); /* what an app is called may have changed */
void dns_tick(struct parent *p);        /* each second */
void dns_stop(struct parent *p);

/* dns_resolver.c: this host's own resolver */
void resolver_restore(struct parent *p); /* of a daemon that was killed */
void resolver_take(struct parent *p);
void resolver_release(struct parent *p);
/* Who is asked for other names; true: it is not who it was. */
bool resolver_servers(struct parent *p, struct msg_dns_forward *servers);

/* plan.c */
/* For every target with the nodes it may meet, or for none: then `e` says why. */
int plan_compile(struct parent *p, const struct pol_model *model, struct pol_image *imgs[TARGETS_MAX], struct err *e);
int plan_send_image(struct parent *p, uint32_t target);
bool plan_send_policy(struct parent *p, uint32_t target); /* with the nodes that are known now */
void plan_send_target(struct parent *p, uint32_t target); /* all that it shall know */
struct msg_addrs plan_addrs(const struct parent *p);
void plan_send_addrs(struct parent *p); /* and all that goes with them */
void plan_send_all(struct parent *p);   /* to a net that knows nothing */
void plan_send_nodes(struct parent *p);
void plan_send_node(struct parent *p, const struct node *n);
void plan_remove_node(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN]);
bool plan_is_hub(const struct parent *p, const struct id_claims *claims); /* as a spoke's configuration says */
void plan_elect_hub(struct parent *p);                                    /* after one came or went; net hears of it */
void plan_sign_self(struct parent *p);

/* workloads.c */
int workloads_start(struct parent *p, struct err *e); /* of the configuration, then those that were added */
void workloads_send(struct parent *p);                /* to a net that knows nothing */
int workload_add(struct parent *p, const struct conf_workload *w, struct err *e);
int workload_remove(struct parent *p, const char *name, struct err *e);
/* What the configuration file says of them now; NULL: there is none. Nothing is changed where it is refused. */
int workloads_reload(struct parent *p, const struct conf *fresh, struct err *e);
void workload_opened(struct parent *p, uint32_t target, int code, const struct err *e);      /* net's answer */
struct target *workload_of(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN]); /* NULL: is none */

/* report_public.c: the status process, where one is configured */
int report_public_start(struct parent *p);
void report_public_stop(struct parent *p);

/* report_workloads.c */
json_t *report_workloads_json(struct parent *p);
void report_on_workloads(struct evhttp_request *req, void *arg);
void report_on_workload_add(struct evhttp_request *req, void *arg);
void report_on_workload_remove(struct evhttp_request *req, void *arg);

/* report.c */
/* req NULL: nobody waits, p is told. `answer` is called once net has reported, and thus done all that it was told
 * before; or has not in time. */
void report_ask_net(struct parent *p, struct evhttp_request *req, uint32_t pairs,
		    void (*answer)(struct parent *p, struct evhttp_request *req));
int report_open(struct parent *p, struct err *e);
void report_close(struct parent *p);
void report_refused(struct parent *p, const char *origin, const struct err *e);
void report_net_message(struct parent *p, const struct ipc_msg *msg); /* RULES ... STATUS_REPLY */
void report_net_down(struct parent *p);

/* report_flows.c */
void report_flow_page(struct parent *p, const struct ipc_msg *msg);
void report_flows_end(struct parent *p); /* net is gone */

/* report_ask.c */
void report_asked(struct parent *p, const struct msg_asked *message);
void report_asks_end(struct parent *p); /* net is gone */

/* report_records.c */
#define MARK_OF_ADD (UINT64_C(1) << 63) /* in a mark's token: it stands behind a record that a person brought */
void report_on_record_add(struct evhttp_request *req, void *arg);
void report_on_record_remove(struct evhttp_request *req, void *arg);
void report_on_record_readmit(struct evhttp_request *req, void *arg);
void report_record_refused(struct parent *p, const char *origin, const struct err *e);
void report_record_marked(struct parent *p, uint64_t token);
void report_records_end(struct parent *p); /* the edge is gone */

/* report_capture.c */
void report_packet(struct parent *p, const struct msg_packet *m);
void report_capture_resume(struct parent *p); /* net was started anew */

/* report_events.c */
void report_event(struct parent *p, const struct msg_event *m);
void report_loss(struct parent *p, const struct msg_loss *m);
void report_tick(struct parent *p); /* each second */

/* report_peers.c */
void report_on_peers(struct evhttp_request *req, void *arg);
void report_peer(struct parent *p, const struct id_node *id, bool is_gone);
void report_peers_tick(struct parent *p);

/* report_policy.c: handlers of the control socket */
void report_on_reload(struct evhttp_request *req, void *arg);
void report_on_apply(struct evhttp_request *req, void *arg);
void report_on_confirm(struct evhttp_request *req, void *arg);
void report_on_rollback(struct evhttp_request *req, void *arg);

/* reload.c: life_apply() of the configured files, `workloads:` and `vpc:`, trust and the records directory again */
int parent_reload(struct parent *p, struct diags *d, struct err *e);
void report_on_vpc_reload(struct evhttp_request *req, void *arg);
