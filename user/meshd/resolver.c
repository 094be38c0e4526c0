// SPDX-License-Identifier: Apache-2.0
/*
 * Which name servers are asked. A worker reads resolv.conf before it goes into its box, and can not open it any more;
 * the parent looks whether it has changed, and passes the text on.
 */
#include <errno.h>
#include <event2/dns.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "parent.h"
#include "worker.h"

#define FILE_NAME  "/etc/resolv.conf"
#define LOOK_S     2
#define TEXT_MAX   (64 << 10)
#define SEARCH_MAX 6 /* as resolv.conf(5) has it */

/* --- the parent --- */

struct md_resolver {
	struct md_parent *parent;
	struct event *look;
	struct stat seen;
};

static bool has_changed(const struct stat *a, const struct stat *b)
{
	return a->st_dev != b->st_dev || a->st_ino != b->st_ino || a->st_size != b->st_size ||
	       a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct md_resolver *r = arg;
	const struct md_parent *p = r->parent;
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	struct stat now;
	size_t len;

	(void)fd, (void)what;
	if (stat(FILE_NAME, &now) < 0 || !has_changed(&now, &r->seen) ||
	    file_read(FILE_NAME, TEXT_MAX, &text, &len, &e) < 0)
		return; /* a file that is not there, or not yet whole, changes nothing */
	r->seen = now;
	log_info("%s has changed", FILE_NAME);
	for (uint32_t i = 0; i < p->conf.workers; i++)
		if (p->worker[i].proc.ipc)
			ipc_send_blob(p->worker[i].proc.ipc, MD_RESOLVER, NULL, 0, text, len);
}

int md_resolver_new(struct md_parent *p, struct md_resolver **resolver, struct err *e)
{
	struct md_resolver *r = calloc(1, sizeof(*r));
	struct timeval every = { .tv_sec = LOOK_S };

	if (r) {
		r->parent = p;
		r->look = event_new(p->base, -1, EV_PERSIST, on_look, r);
	}
	if (!r || !r->look || event_add(r->look, &every) < 0) {
		md_resolver_free(r);
		return err_at(e, -ENOMEM, FILE_NAME, "out of memory");
	}
	stat(FILE_NAME, &r->seen);
	*resolver = r;
	return 0;
}

void md_resolver_free(struct md_resolver *r)
{
	if (r && r->look)
		event_free(r->look);
	free(r);
}

/* --- a worker --- */

#define BLANKS " \t\r"

/* libevent asks the one that was added last first. */
static void search_use(struct evdns_base *dns, char *names)
{
	char *name[SEARCH_MAX], *at;
	size_t n = 0;

	evdns_base_search_clear(dns);
	for (char *word = strtok_r(names, BLANKS, &at); word && n < SEARCH_MAX; word = strtok_r(NULL, BLANKS, &at))
		name[n++] = word;
	while (n > 0)
		evdns_base_search_add(dns, name[--n]);
}

static unsigned line_use(struct evdns_base *dns, char *line)
{
	char *rest = NULL, *word = strtok_r(line, BLANKS, &rest);

	if (!word)
		return 0;
	if (strcmp(word, "search") == 0 || strcmp(word, "domain") == 0)
		search_use(dns, rest);
	if (strcmp(word, "nameserver") != 0)
		return 0;
	word = strtok_r(NULL, BLANKS, &rest);
	return word && evdns_base_nameserver_ip_add(dns, word) == 0;
}

void md_resolver_take(struct md_worker_state *w, const struct ipc_msg *msg)
{
	auto_free uint8_t *text = NULL;
	unsigned n = 0;
	size_t len;
	char *at;

	if (ipc_blob_read(msg->fd, TEXT_MAX, &text, &len) < 0)
		return;
	w->counts.resolvers++;
	evdns_base_clear_nameservers_and_suspend(w->dns);
	evdns_base_search_clear(w->dns);
	for (char *line = strtok_r((char *)text, "\n", &at); line; line = strtok_r(NULL, "\n", &at))
		n += line_use(w->dns, line);
	if (!n)
		evdns_base_nameserver_ip_add(w->dns, "127.0.0.1");
	evdns_base_resume(w->dns);
}
