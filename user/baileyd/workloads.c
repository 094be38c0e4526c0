// SPDX-License-Identifier: Apache-2.0
/*
 * Machines behind this host: each is a target of its own, from the configuration file or added while the daemon runs.
 * The latter are kept in the state directory, for a restart must not leave them without a guard.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "parent.h"

#define ADDED_FILE     "workloads.yaml"
#define ADDED_FILE_MAX (64 * 1024)

static bool is_workload(const struct target *t)
{
	return t->kind == TARGET_IS_WORKLOAD;
}

struct target *workload_of(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	for (uint32_t i = 0; i < p->n_targets; i++)
		if (is_workload(&p->targets[i]) &&
		    memcmp(p->targets[i].workload.instance_id, instance_id, BY_INSTANCE_ID_LEN) == 0)
			return &p->targets[i];
	return NULL;
}

static struct target *workload_named(struct parent *p, const char *name)
{
	for (uint32_t i = 0; i < p->n_targets; i++)
		if (is_workload(&p->targets[i]) && strcmp(p->targets[i].workload.name, name) == 0)
			return &p->targets[i];
	return NULL;
}

/* --- those that were added, on disk --- */

static void added_path(const struct parent *p, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/" ADDED_FILE, PATH_MAX - 32, p->conf.state);
}

static void print_one(FILE *to, const struct conf_workload *w)
{
	char hex[2 * BY_INSTANCE_ID_LEN + 1];

	hex_print(hex, w->instance_id, sizeof(w->instance_id));
	fprintf(to, "  - { name: '%s', interface: '%s', instance: '%s'", w->name, w->interface, hex);
	if (memcmp(w->mac, (uint8_t[6]){ 0 }, 6) != 0)
		fprintf(to, ", mac: '%02x:%02x:%02x:%02x:%02x:%02x'", w->mac[0], w->mac[1], w->mac[2], w->mac[3],
			w->mac[4], w->mac[5]);
	if (w->vlan[1])
		fprintf(to, ", vlan: [%u, %u]", w->vlan[0], w->vlan[1]);
	else if (w->vlan[0])
		fprintf(to, ", vlan: [%u]", w->vlan[0]);
	fprintf(to, " }\n");
}

static int added_save(const struct parent *p, struct err *e)
{
	auto_free char *text = NULL;
	char path[PATH_MAX];
	size_t size;
	FILE *to = open_memstream(&text, &size);
	uint32_t n = 0;

	if (!to)
		return err_at(e, -ENOMEM, ADDED_FILE, "out of memory");
	fprintf(to, "# Written by baileyd: bailey workload add, remove.\nworkloads:\n");
	for (uint32_t i = 0; i < p->n_targets; i++)
		if (is_workload(&p->targets[i]) && !p->targets[i].is_configured) {
			print_one(to, &p->targets[i].workload);
			n++;
		}
	if (!n)
		fprintf(to, "  []\n");
	if (fclose(to) != 0)
		return err_at(e, -ENOMEM, ADDED_FILE, "out of memory");
	added_path(p, path);
	return file_write(path, text, size, 0600, e);
}

static int added_load(const struct parent *p, struct conf_workloads *list, struct err *e)
{
	auto_call(diags_fini) struct diags d = { 0 };
	auto_free char *text = NULL;
	char path[PATH_MAX];
	size_t len;
	int ret;

	list->n = 0;
	added_path(p, path);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	ret = file_read(path, ADDED_FILE_MAX, &text, &len, e);
	if (ret < 0)
		return ret;
	return conf_workloads_parse(path, text, len, list, &d) < 0 ? diags_first(&d, e) : 0;
}

/* --- targets --- */

static int clash(const struct parent *p, const struct conf_workload *w, struct err *e)
{
	if (strcmp(w->interface, p->conf.interface) == 0)
		return err_at(e, -EEXIST, w->name, "interface '%s' is the overlay's", w->interface);
	if (strcmp(w->interface, p->conf.underlay.interface) == 0)
		return err_at(e, -EEXIST, w->name, "interface '%s' is the underlay's", w->interface);
	for (uint32_t i = 0; i < p->n_targets; i++) {
		const struct conf_workload *o = &p->targets[i].workload;

		if (!is_workload(&p->targets[i]))
			continue;
		if (strcmp(o->name, w->name) == 0)
			return err_at(e, -EEXIST, w->name, "there is a workload of this name");
		if (strcmp(o->interface, w->interface) == 0)
			return err_at(e, -EEXIST, w->name, "interface '%s' leads to workload '%s'", o->interface,
				      o->name);
		if (memcmp(o->instance_id, w->instance_id, sizeof(o->instance_id)) == 0)
			return err_at(e, -EEXIST, w->name, "its instance is workload '%s' already", o->name);
	}
	return 0;
}

static struct target *free_target(struct parent *p)
{
	for (uint32_t i = TARGET_OVERLAY + 1; i < p->n_targets; i++)
		if (p->targets[i].kind == TARGET_IS_FREE)
			return &p->targets[i];
	return p->n_targets < TARGETS_MAX ? &p->targets[p->n_targets] : NULL;
}

static void send_target(struct parent *p, const struct target *t)
{
	struct msg_target m = { .target = (uint32_t)(t - p->targets), .kind = t->kind, .workload = t->workload };

	memcpy(m.interface, t->interface, sizeof(m.interface));
	if (p->net.ipc)
		ipc_send(p->net.ipc, MSG_NET_TARGET, &m, sizeof(m), -1);
}

static int target_new(struct parent *p, const struct conf_workload *w, bool is_configured, struct target **out,
		      struct err *e)
{
	int ret = clash(p, w, e);
	struct target *t = ret ? NULL : free_target(p);

	if (ret)
		return ret;
	if (!t)
		return err_at(e, -ENOSPC, w->name, "there are %d targets already", TARGETS_MAX);
	if (t == &p->targets[p->n_targets])
		p->n_targets++;
	*t = (struct target){ .kind = TARGET_IS_WORKLOAD, .workload = *w, .is_configured = is_configured };
	memcpy(t->interface, w->interface, sizeof(t->interface));
	*out = t;
	return 0;
}

static void target_forget(struct parent *p, struct target *t)
{
	p->losses[t - p->targets] = (struct loss){ 0 };
	free(t->image);
	*t = (struct target){ .kind = TARGET_IS_FREE };
}

/* Where the others are told to expect its packets, and whether it is WireGuard's, has changed. */
static void place_again(struct parent *p, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	const struct node *n = node_find(p, instance_id);

	if (n && p->is_loaded)
		plan_send_node(p, n);
}

static void start_guarding(struct parent *p, struct target *t)
{
	if (!p->is_loaded)
		return; /* with all the others (plan_send_all) */
	t->is_hot = true;
	send_target(p, t);
	if (p->net.ipc)
		plan_send_target(p, (uint32_t)(t - p->targets));
	place_again(p, t->workload.instance_id);
	log_info("workload %s: behind %s", t->workload.name, t->interface);
}

static void stop_guarding(struct parent *p, struct target *t)
{
	struct msg_number m = { .target = (uint32_t)(t - p->targets) };
	struct conf_workload gone = t->workload;

	target_forget(p, t);
	if (p->net.ipc)
		ipc_send(p->net.ipc, MSG_NET_TARGET_DEL, &m, sizeof(m), -1);
	place_again(p, gone.instance_id);
	log_info("workload %s: not guarded any more on %s", gone.name, gone.interface);
}

static int is_busy(const struct parent *p, struct err *e)
{
	if (!p->is_loaded)
		return err_at(e, -EAGAIN, "workloads", "baileyd is starting; try again");
	if (p->life.change)
		return err_at(e, -EBUSY, "workloads", "a policy is being loaded; try again");
	return 0;
}

/* --- what a person asks for --- */

int workload_add(struct parent *p, const struct conf_workload *w, struct err *e)
{
	struct target *t;
	int ret = is_busy(p, e);

	if (!ret)
		ret = target_new(p, w, false, &t, e);
	if (ret)
		return ret;
	ret = added_save(p, e);
	if (ret)
		target_forget(p, t);
	else
		start_guarding(p, t);
	return ret;
}

int workload_remove(struct parent *p, const char *name, struct err *e)
{
	struct target *t = workload_named(p, name);
	int ret = is_busy(p, e);

	if (ret)
		return ret;
	if (!t)
		return err_at(e, -ENOENT, name, "there is no workload of this name");
	if (t->is_configured)
		return err_at(e, -EEXIST, name, "is in %s: take it out there and reload", p->conf.file);
	t->is_configured = true; /* for the file: it is not among those that were added */
	ret = added_save(p, e);
	t->is_configured = false;
	if (!ret)
		stop_guarding(p, t);
	return ret;
}

/* Fails only where it could not be opened at all: a device that is not there yet is waited for. */
void workload_opened(struct parent *p, uint32_t target, int code, const struct err *e)
{
	struct target *t = &p->targets[target];
	struct err disk = ERR_INIT;

	if (!is_workload(t))
		return;
	if (!code || !t->is_hot) {
		t->is_hot = false;
		return;
	}
	p->workload_err = *e;
	target_forget(p, t);
	if (added_save(p, &disk) < 0)
		log_err("%s: %s", disk.where, disk.msg);
}

/* --- the configuration file again --- */

static bool has(const struct conf_workloads *list, const struct conf_workload *w)
{
	for (uint32_t i = 0; i < list->n; i++)
		if (memcmp(&list->item[i], w, sizeof(*w)) == 0)
			return true;
	return false;
}

/* What was added stays, so what the file names now must leave it its name, interface and instance. */
static int check_added(struct parent *p, const struct conf_workloads *list, struct err *e)
{
	for (uint32_t i = 0; i < p->n_targets; i++) {
		const struct target *t = &p->targets[i];

		for (uint32_t j = 0; is_workload(t) && !t->is_configured && j < list->n; j++) {
			const struct conf_workload *w = &list->item[j];

			if (strcmp(w->name, t->workload.name) == 0 || strcmp(w->interface, t->interface) == 0 ||
			    memcmp(w->instance_id, t->workload.instance_id, sizeof(w->instance_id)) == 0)
				return err_at(e, -EEXIST, w->name,
					      "clashes with workload '%s', which was added: remove that one first",
					      t->workload.name);
		}
	}
	return 0;
}

static int take_over(struct parent *p, const struct conf_workloads *list, struct err *e)
{
	int ret = 0;

	for (uint32_t i = 0; i < p->n_targets; i++) {
		struct target *t = &p->targets[i];

		if (is_workload(t) && t->is_configured && !has(list, &t->workload))
			stop_guarding(p, t);
	}
	for (uint32_t i = 0; i < list->n && !ret; i++) {
		struct target *t = workload_named(p, list->item[i].name);

		if (t)
			continue;
		ret = target_new(p, &list->item[i], true, &t, e);
		if (!ret)
			start_guarding(p, t);
	}
	return ret;
}

int workloads_reload(struct parent *p, const struct conf *fresh, struct err *e)
{
	int ret = is_busy(p, e);

	if (ret || !fresh)
		return ret;
	ret = check_added(p, &fresh->workloads, e);
	return ret ? ret : take_over(p, &fresh->workloads, e);
}

int workloads_start(struct parent *p, struct err *e)
{
	struct conf_workloads added;
	struct target *t;
	int ret = added_load(p, &added, e);

	for (uint32_t i = 0; i < p->conf.workloads.n && !ret; i++)
		ret = target_new(p, &p->conf.workloads.item[i], true, &t, e);
	for (uint32_t i = 0; i < added.n && !ret; i++)
		ret = target_new(p, &added.item[i], false, &t, e);
	return ret;
}

void workloads_send(struct parent *p)
{
	for (uint32_t i = 0; i < p->n_targets; i++)
		if (is_workload(&p->targets[i]))
			send_target(p, &p->targets[i]);
}
