// SPDX-License-Identifier: Apache-2.0
/*
 * This host's own resolver. systemd-resolved is told that the overlay's device has names (split DNS): of its own state
 * nothing outlives the device. A resolv.conf is replaced only where the configuration says so: what was there is kept
 * in the state directory first, its resolvers stay behind ours, and it is put back at the end or at the next start.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "parent.h"

#define FILE_MAX     (64 * 1024)
#define DNS_PORT     53
#define RESOLVED_RUN "/run/systemd/resolve/stub-resolv.conf"
#define PATIENCE_S   10
#define NO_PROGRAM   127 /* as a shell says it */
static const char mark[] = "# written by baileyd, which puts back what was here; see dns.resolver in baileyd.conf(5)\n";

/* --- systemd-resolved --- */

static int run(const char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(NO_PROGRAM);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* In a process of its own, which is given up when the bus does not answer. Nobody waits for it. */
static void in_background(void (*fn)(const struct parent *p), const struct parent *p)
{
	sigset_t none;
	pid_t pid = fork();

	if (pid < 0)
		log_err("resolvectl can not start: %s", strerror(errno));
	if (pid)
		return;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	close_range(3, ~0u, 0); /* the control socket, above all: who looks must not take this for the daemon */
	alarm(PATIENCE_S);
	fn(p);
	_exit(0);
}

static void tell_resolved(const struct parent *p)
{
	char domain[DNS_SUFFIX_LEN + 1], addr[ID_MAX_ADDRS][ADDR_TEXT];
	const char *link = p->conf.interface, *dns[3 + ID_MAX_ADDRS + 1] = { "resolvectl", "dns", link };
	const char *const domains[] = { "resolvectl", "domain", link, domain, NULL };
	const char *const plain[][5] = { { "resolvectl", "default-route", link, "no", NULL },
					 { "resolvectl", "dnssec", link, "no", NULL },
					 { "resolvectl", "dnsovertls", link, "no", NULL } };
	int bad;

	snprintf(domain, sizeof(domain), "~%s", p->conf.dns.suffix);
	for (uint32_t i = 0; i < p->conf.n_addrs; i++)
		dns[3 + i] = addr_print(&p->conf.addrs[i], addr[i]);
	bad = run(dns);
	bad = bad ? bad : run(domains);
	for (size_t i = 0; i < ARRAY_LEN(plain) && bad != NO_PROGRAM; i++) {
		int ret = run(plain[i]);

		bad = bad ? bad : ret;
	}
	if (bad)
		log_err("systemd-resolved was not told of %s, %s: names below %s are there for who asks this node "
			"itself",
			link, bad == NO_PROGRAM ? "resolvectl is not installed" : "resolvectl failed",
			p->conf.dns.suffix);
}

static void forget_resolved(const struct parent *p)
{
	const char *const revert[] = { "resolvectl", "revert", p->conf.interface, NULL };

	run(revert);
}

/* --- resolv.conf --- */

static void kept_path(const struct parent *p, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/resolv.conf.before", PATH_MAX - 32, p->conf.state);
}

static bool is_ours(const char *text)
{
	return strncmp(text, mark, sizeof(mark) - 1) == 0;
}

/* Calls fn for each "nameserver ADDRESS". */
static void each_server(const char *text, void (*fn)(const struct by_addr *addr, void *arg), void *arg)
{
	struct by_addr addr;
	char word[64];

	for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (sscanf(line, "nameserver%*[ \t]%63s", word) == 1 && addr_parse(&addr, word))
			fn(&addr, arg);
}

struct text {
	char b[4096];
	size_t len;
	unsigned n;
};

static void add_server(const struct by_addr *addr, void *arg)
{
	struct text *t = arg;
	char text[ADDR_TEXT];

	if (t->n++ < CONF_DNS_FORWARD && t->len < sizeof(t->b) - 128) /* a libc looks at three */
		t->len += (size_t)snprintf(t->b + t->len, sizeof(t->b) - t->len, "nameserver %s\n",
					   addr_print(addr, text));
}

/* Ours first, then who was asked before: names go on when this daemon is killed. */
static void compose(const struct parent *p, const char *before, struct text *t)
{
	*t = (struct text){ .len = sizeof(mark) - 1 };
	memcpy(t->b, mark, sizeof(mark));
	add_server(&p->conf.addrs[0], t);
	each_server(before, add_server, t);
	for (const char *line = before; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		int n = (int)strcspn(line, "\n");
		bool is_other = strncmp(line, "search", 6) == 0 || strncmp(line, "domain", 6) == 0 ||
				strncmp(line, "options", 7) == 0;

		if (is_other && t->len + (size_t)n + 2 < sizeof(t->b))
			t->len += (size_t)snprintf(t->b + t->len, sizeof(t->b) - t->len, "%.*s\n", n, line);
	}
}

/* A link is kept as one: "@", then where it leads. */
static int keep(const char *path, const char *text, const char *kept, struct err *e)
{
	char link[PATH_MAX + 1] = "@";
	ssize_t n = readlink(path, link + 1, sizeof(link) - 2);

	return file_write(kept, n > 0 ? link : text, n > 0 ? (size_t)n + 1 : strlen(text), 0600, e);
}

static int put_back(const char *path, const char *kept, struct err *e)
{
	auto_free char *text = NULL;
	char made[PATH_MAX + 16];
	size_t len;
	int ret = file_read(kept, FILE_MAX, &text, &len, e);

	if (ret)
		return ret;
	if (text[0] != '@')
		return file_write(path, text, len, 0644, e);
	snprintf(made, sizeof(made), "%s.bailey", path);
	unlink(made);
	if (symlink(text + 1, made) < 0 || rename(made, path) < 0)
		return err_at(e, -errno, path, "can not be put back: %s", strerror(errno));
	return 0;
}

static int file_take(struct parent *p, struct err *e)
{
	const char *path = p->conf.dns.resolv_conf;
	auto_free char *before = NULL;
	char kept[PATH_MAX];
	struct text t;
	size_t len;
	int ret = file_read(path, FILE_MAX, &before, &len, e);

	if (ret || is_ours(before))
		return ret;
	kept_path(p, kept);
	compose(p, before, &t);
	ret = keep(path, before, kept, e);
	if (!ret)
		ret = file_write(path, t.b, t.len, 0644, e);
	if (ret)
		unlink(kept);
	return ret;
}

/* Nothing where somebody else has written there since: that is newer than what is kept. */
static void file_release(struct parent *p)
{
	const char *path = p->conf.dns.resolv_conf;
	auto_free char *now = NULL;
	struct err e = ERR_INIT;
	char kept[PATH_MAX];
	size_t len;

	kept_path(p, kept);
	if (access(kept, F_OK) < 0)
		return;
	if (file_read(path, FILE_MAX, &now, &len, &e) == 0 && is_ours(now) && put_back(path, kept, &e) < 0) {
		log_err("%s: %s", e.where, e.msg);
		return;
	}
	unlink(kept);
}

/* --- both --- */

void resolver_restore(struct parent *p)
{
	if (p->conf.dns.is_on && p->conf.dns.resolver != CONF_RESOLVER_FILE)
		file_release(p);
	else if (!p->conf.dns.is_on && snprintf(p->conf.dns.resolv_conf, PATH_MAX, "/etc/resolv.conf") > 0)
		file_release(p);
}

void resolver_take(struct parent *p)
{
	enum conf_resolver want = p->conf.dns.resolver;
	struct err e = ERR_INIT;

	p->dns.resolver = CONF_RESOLVER_NONE;
	if (want == CONF_RESOLVER_FILE && file_take(p, &e) == 0)
		p->dns.resolver = CONF_RESOLVER_FILE;
	if (want == CONF_RESOLVER_RESOLVED || (want == CONF_RESOLVER_AUTO && access(RESOLVED_RUN, F_OK) == 0)) {
		in_background(tell_resolved, p);
		p->dns.resolver = CONF_RESOLVER_RESOLVED;
	}
	if (!e.code)
		return;
	log_err("%s: %s", e.where, e.msg);
	p->dns.err = e;
}

void resolver_release(struct parent *p)
{
	if (p->dns.resolver == CONF_RESOLVER_RESOLVED)
		in_background(forget_resolved, p);
	if (p->dns.resolver == CONF_RESOLVER_FILE)
		file_release(p);
	p->dns.resolver = CONF_RESOLVER_NONE;
}

/* --- who is asked for other names --- */

struct servers {
	const struct parent *p;
	struct msg_dns_forward m;
};

static void take_server(const struct by_addr *addr, void *arg)
{
	struct servers *s = arg;
	const struct conf *c = &s->p->conf;

	for (uint32_t i = 0; i < c->n_addrs; i++)
		if (addr_equal(addr, &c->addrs[i]))
			return; /* ourselves */
	for (uint32_t i = 0; i < c->dns.n_listen; i++)
		if (addr_equal(addr, &c->dns.listen[i].addr) && c->dns.listen[i].port == DNS_PORT)
			return;
	if (s->m.n < CONF_DNS_FORWARD)
		s->m.server[s->m.n++] = (struct ip_endpoint){ .addr = *addr, .port = DNS_PORT };
}

static bool is_changed(struct parent *p, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0 || memcmp(&st.st_mtim, &p->dns.read, sizeof(st.st_mtim)) == 0)
		return false;
	p->dns.read = st.st_mtim;
	return true;
}

bool resolver_servers(struct parent *p, struct msg_dns_forward *servers)
{
	const struct conf_dns *c = &p->conf.dns;
	struct servers found = { .p = p };
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	bool is_other;
	size_t len;

	if (c->has_forward) {
		found.m.n = c->n_forward;
		memcpy(found.m.server, c->forward, sizeof(found.m.server));
	} else {
		if (!is_changed(p, c->resolv_conf) || file_read(c->resolv_conf, FILE_MAX, &text, &len, &e) < 0)
			return false;
		each_server(text, take_server, &found);
	}
	is_other = memcmp(&found.m, servers, sizeof(found.m)) != 0;
	*servers = found.m;
	return is_other;
}
