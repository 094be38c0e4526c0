// SPDX-License-Identifier: Apache-2.0
/* What must be there before the children: directories, bpffs, listening sockets, whom the edge runs as. */
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/listen.h"
#include "base/log.h"
#include "parent.h"

static int make_dirs(const struct conf *conf, struct err *e)
{
	char path[PATH_MAX];
	int ret = dir_make(conf->state, 0700, e);

	snprintf(path, sizeof(path), "%.*s/records", PATH_MAX - 16, conf->state);
	if (!ret)
		ret = dir_make(path, 0700, e);
	return ret ? ret : dir_make(conf->run, 0755, e);
}

/* Net may not mount, so bpffs is there before it starts. */
static int need_bpffs(const struct conf *conf, struct err *e)
{
	char path[PATH_MAX];
	struct statfs fs;

	if (statfs(conf->bpffs, &fs) < 0)
		return err_at(e, -errno, conf->bpffs, "%s", strerror(errno));
	if (fs.f_type != BPF_FS_MAGIC &&
	    mount("bpf", conf->bpffs, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		return err_at(e, -errno, conf->bpffs, "is no bpf file system and none can be mounted: %s",
			      strerror(errno));
	snprintf(path, sizeof(path), "%.*s/bailey", PATH_MAX - 16, conf->bpffs);
	return dir_make(path, 0700, e);
}

/* The parent keeps the listening sockets, so that peers wait instead of failing while the edge starts again. */
static int bind_all(struct parent *p, struct err *e)
{
	for (uint32_t i = 0; i < p->conf.n_listen; i++) {
		p->listen_fd[i] = tcp_listen(&p->conf.listen[i], "exchange.listen", e);
		if (p->listen_fd[i] < 0)
			return p->listen_fd[i];
	}
	for (uint32_t i = 0; i < p->conf.n_status; i++) {
		p->status_fd[i] = tcp_listen_early(&p->conf.status[i], "status.listen", e);
		if (p->status_fd[i] < 0)
			return p->status_fd[i];
	}
	return 0;
}

int prepare_user(struct parent *p, struct err *e)
{
	return user_find("user", p->conf.user, &p->edge.uid, &p->edge.gid, e);
}

int prepare(struct parent *p, struct err *e)
{
	int ret = make_dirs(&p->conf, e);

	if (!ret)
		ret = life_start(p, e);
	if (!ret)
		ret = vpc_load(p, e);
	if (!ret)
		ret = workloads_start(p, e);
	if (!ret)
		ret = need_bpffs(&p->conf, e);
	if (!ret)
		ret = own_identity(p, e);
	if (!ret)
		ret = trust_read(&p->trust, e);
	if (!ret)
		ret = rotate_load(p, e);
	if (!ret)
		ret = bind_all(p, e);
	return ret;
}
