/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. */
#pragma once

#include "base/cleanup.h"
#include "base/hash.h"
#include "datapath.h"

enum dp_map {
	MAP_GEN,
	MAP_ADDR,
	MAP_IDENT,
	MAP_PORT,
	MAP_VERDICT,
	MAP_RULE,
	MAP_RULE_STAT,
	MAP_CT4,
	MAP_CT6,
	MAP_FRAG,
	MAP_RATE,
	MAP_STAT,
	MAP_PAIR,
	MAP_LIMIT,
	MAP_EVENTS,
	MAP_SWITCH,
	MAP_CAPTURE,
	MAP_VIA,
	MAP_NET, /* the host's alone, from here on */
	MAP_SOURCE,
	MAP_TOTAL,
	MAP_COUNT,
};

/* Newer than the user-space headers of Debian 12. */
#define ATTACH_TCX_INGRESS 46
#define ATTACH_TCX_EGRESS  47

#define DIR_LEN  256
#define PATH_LEN 528

/* Values of an array map lie 8 bytes apart in its mapping. */
struct port_cell {
	struct by_port port;
	uint32_t pad;
};

struct entry {
	struct dp_identity id;
	uint32_t number;
	uint32_t peer_class[BY_SLOTS];
	size_t pos; /* in table.all */
	struct hash_item by_instance;
	struct entry_addr {
		struct hash_item by_addr;
		struct entry *en; /* NULL: not in the table */
	} addr[ARRAY_LEN(((struct dp_identity *)0)->addrs)];
};

/* Identities in memory; rebuilt from by_ident and by_addr on open. */
struct table {
	struct entry **all;
	size_t n, cap;
	uint32_t last_number;
	struct entry *by_number[BY_MAX_IDENTITIES];
	struct hash by_instance, by_addr;
};

struct host;

struct dp {
	struct tc_bpf *skel;    /* NULL: the host's */
	struct host *host;      /* host.c; NULL: the overlay's, a machine's */
	struct bpf_object *obj; /* that has the maps */
	char dir[DIR_LEN];      /* of the pins */
	size_t version_at;      /* in dir: "/v3" */
	int map[MAP_COUNT];
	int prog[BY_DIR_COUNT], ask[BY_DIR_COUNT];
	struct dp_options options;
	struct by_gen *gen; /* mapped */
	struct port_cell *port;
	const char *attach_mode;
	bool is_staged;
	uint32_t n_rules[BY_SLOTS];
	struct rated {
		uint32_t *rule; /* those with a rate for each peer */
		uint32_t n;
	} rated[BY_SLOTS];
	int n_cpus;
	struct table table;
	struct ring_buffer *ring;
	dp_event_fn event_fn;
	void *event_arg;
	struct ring_buffer *capture;
	dp_capture_fn capture_fn;
	void *capture_arg;
};

/* open.c */
void dp_libbpf_quiet(void);
const char *dp_libbpf_said(void); /* libbpf's last warning, "" if none */
int kernel_refused(struct err *e, int code, const char *what);
/* What every datapath is made of; `load` brings its programs. sub: directory of its pins in the instance's, or NULL. */
int dp_make(const char *bpffs, const char *instance, const char *sub, const struct dp_options *options,
	    int (*load)(struct dp *dp, struct err *e), struct dp **out, struct err *e);
int maps_adopt(const char *dir, struct bpf_object *obj, struct err *e); /* before the object is loaded */
/* Those whose name is pinned there are used, whatever their size. */
int maps_borrow(const char *dir, struct bpf_object *obj, struct err *e);
int maps_pin_all(const char *dir, const char *borrowed, struct bpf_object *obj, struct err *e); /* borrowed: or NULL */
int maps_pin(struct dp *dp, struct err *e);                                                     /* after dp->obj was */
int prog_pin(struct dp *dp, int fd, const char *name, struct err *e);
/* dp->prog and dp->ask, by direction */
int progs_pin(struct dp *dp, const char *const *prog_name, const char *const *ask_name, struct err *e);
#define EVENTS_PER_SEC   100
#define CAPTURES_PER_SEC 1000

/* pin.c */
#define PIN_HOST "host" /* directory of the host's, beside the others of its version */
extern const char *const dp_map_name[MAP_COUNT];
extern const char *const dp_prog_name[BY_DIR_COUNT];
extern const char *const dp_ask_name[BY_DIR_COUNT];
extern const char *const dp_link_name[BY_DIR_COUNT];
#define WORKLOAD_NAME_MAX 15
bool name_is_valid(const char *s, size_t max);
#define PIN_WORKLOAD "w-" /* a machine's: with its name */
#define PIN_DIVERT   "divert"
#define PIN_GUARD    "guard"
#define PIN_SECOND   "second"                           /* of the second device */
int version_dir_remove(const char *dir, struct err *e); /* pins and directory */
/*
 * Of a daemon with another layout of maps: its programs for the same device go, with their pins. First ours must be
 * there.
 */
int pins_supersede(const struct dp *dp, struct err *e);
bool pins_has_other(const struct dp *dp);
int instance_dir(const char *bpffs, const char *instance, char dir[static DIR_LEN], struct err *e);
int pin_dir_make(const char *bpffs, const char *instance, const char *sub, char dir[static DIR_LEN], struct err *e);
void pin_path(char path[static PATH_LEN], const char *dir, const char *name);
void pin_fresh_path(char path[static PATH_LEN + 8], const char *dir, const char *name); /* until the rename */
int pin_replace(int fd, const char *dir, const char *name); /* atomic: the name never is without an object */

/* sizes.c: before the object is loaded */
int sizes_set(struct dp *dp, struct err *e);
uint32_t map_capacity(const struct dp *dp, enum dp_map map);

/* attach.c. The first two: 0 or -errno; dp_attach() chooses. */
int attach_tcx(struct dp *dp, unsigned ifindex);
int attach_clsact(struct dp *dp, unsigned ifindex);
int attach_one(struct dp *dp, enum by_dir dir, unsigned ifindex, struct err *e); /* sets dp->attach_mode */
unsigned link_ifindex(int fd);                                                   /* 0: the device is gone */
int link_remove(const char *dir, const char *name, struct err *e);
int attach_remove(const char *dir, unsigned ifindex, struct err *e);
uint32_t clsact_handle(const char *dir); /* of the pins */
void clsact_remove(const char *pins, unsigned ifindex, enum by_dir dir);

/* host.c */
void host_close(struct host *h);

/* host_attach.c */
int host_remove(const char *dir, unsigned ifindex, struct err *e);

/* cgroup.c */
struct bpf_program;
struct cgroup {
	int fd;
	uint64_t id;
};
int cgroup_open(const char *path, struct cgroup *at, struct err *e); /* the caller closes at->fd */
bool cgroup_is(const char *path, uint64_t id);
/* The pinned link is updated, or made. */
int cgroup_attach(const char *dir, const struct bpf_program *prog, const struct cgroup *at, const char *path,
		  struct err *e);
/* Links that is_named() (NULL: none) does not name. */
int cgroup_prune(const char *dir, bool (*is_named)(uint64_t cgroup, const char *prog, const void *arg), const void *arg,
		 struct err *e);

/* guard.c */
int guard_remove(const char *version, struct err *e); /* of one version of an instance */
int guard_supersede(const char *dir, struct err *e);  /* those of all other versions, in pin.c */

/* divert.c */
int divert_remove(const char *version, struct err *e); /* of one version of an instance */
int divert_supersede(const char *dir, struct err *e);  /* those of all other versions, in pin.c */

/* second.c */
int second_remove(const char *version, struct err *e); /* of one version of an instance */

/* workload.c */
int workloads_remove(const char *version, struct err *e); /* of one version of an instance */

/* map.c: mechanics, 0 or -errno */
typedef int (*map_walk_fn)(const void *key, const void *value, void *arg);
/* Every entry of a hash map; `fn` may delete the one it is shown. Stops when fn returns an error. */
int map_walk(int fd, size_t key_size, size_t value_size, map_walk_fn fn, void *arg);
/* The next entries, `chunk` at most, from `at` on. */
int map_walk_on(int fd, size_t key_size, size_t value_size, struct dp_place *at, uint32_t chunk, map_walk_fn fn,
		void *arg);
int map_write_all(int fd, const void *keys, size_t key_size, const void *values, size_t value_size, size_t n);
int map_sum(const struct dp *dp, enum dp_map map, const void *key, struct by_counter *sum);

/* generation.c */
struct by_gen gen_live(const struct dp *dp);
void gen_bump(struct dp *dp); /* tracked flows are judged again */

/* nets.c: of the host's, 0 or -errno */
int nets_purge(struct dp *dp, uint32_t slot);
int nets_write(struct dp *dp, uint32_t slot, const struct pol_image *img);
int nets_read_back(struct dp *dp, uint32_t slot, const struct pol_image *img);

/* table.c */
struct entry *table_find(const struct table *t, const uint8_t instance_id[BY_INSTANCE_ID_LEN]);
struct entry *table_add(struct table *t, const struct dp_identity *id, uint32_t number); /* NULL: no memory */
uint32_t table_free_number(struct table *t, uint32_t capacity); /* below capacity; 0: none is free */
void table_del(struct table *t, struct entry *en);
const struct entry *table_find_addr(const struct table *t, const struct by_addr *a);
void table_addrs_drop(struct table *t, struct entry *en); /* before en->id.addrs change */
int table_addrs_take(struct table *t, struct entry *en);  /* and after; 0 or -ENOMEM */
void table_fini(struct table *t);

/* flows.c */
int pair_clear(struct dp *dp, uint32_t identity); /* 0 or -errno */

/* rate.c */
int rated_add(struct dp *dp, uint32_t slot, uint32_t rule, const struct by_rule *r); /* 0 or -ENOMEM */
void rated_clear(struct dp *dp, uint32_t slot);
void rates_forget(struct dp *dp, uint32_t identity); /* its buckets: room for others */

/* status.c */
int limit_lost(struct dp *dp, uint32_t budget, uint64_t *lost); /* 0 or -errno; adds to *lost */

/* capture.c */
int capture_switch(struct dp *dp, uint32_t snaplen); /* 0 or -errno */

/* identity.c */
int identity_recover(struct dp *dp, struct err *e);
int via_write(struct dp *dp, uint32_t identity, uint32_t ifindex);          /* 0 or -errno */
int identity_addrs_write(struct dp *dp, struct entry *const *en, size_t n); /* 0 or -errno */
