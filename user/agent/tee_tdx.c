// SPDX-License-Identifier: Apache-2.0
/*
 * Quotes by /dev/tdx_guest: the device gives a TDREPORT, which the host's quoting service (qgs.h) makes a quote. For
 * kernels before 6.7.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "qgs.h"
#include "tee_linux.h"

struct tdx_report_request { /* linux/tdx-guest.h, Linux 6.2; older headers lack it */
	uint8_t report_data[ID_REPORT_DATA_LEN];
	uint8_t report[AG_TDREPORT_LEN];
};
#define TDX_GET_REPORT0 _IOWR('T', 1, struct tdx_report_request)

struct tdx {
	struct ag_tee tee;
	char *device, *qgs, *event_log;
};

static int report_get(const char *device, struct tdx_report_request *req, struct err *e)
{
	auto_fd int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_at(e, -errno, device, "%s", strerror(errno));
	if (ioctl(fd, TDX_GET_REPORT0, req) < 0)
		return err_at(e, -errno, device, "gives no report: %s", strerror(errno));
	return 0;
}

/* --- the back end --- */

static int tdx_quote(struct ag_tee *tee, const uint8_t report_data[ID_REPORT_DATA_LEN], uint8_t **quote, size_t *len,
		     char **event_log, struct err *e)
{
	struct tdx *tdx = (struct tdx *)tee;
	struct tdx_report_request req = { 0 };
	auto_free char *log = NULL;
	int ret = tee_event_log(tdx->event_log, &log, e);

	memcpy(req.report_data, report_data, ID_REPORT_DATA_LEN);
	if (!ret)
		ret = report_get(tdx->device, &req, e);
	if (!ret)
		ret = ag_qgs_quote(tdx->qgs, req.report, quote, len, e);
	if (!ret)
		*event_log = take_ptr(log);
	return ret;
}

static void tdx_close(struct ag_tee *tee)
{
	struct tdx *tdx = (struct tdx *)tee;

	free(tdx->device);
	free(tdx->qgs);
	free(tdx->event_log);
	free(tdx);
}

static const struct ag_tee_ops tdx_ops = { .name = "tdx", .quote = tdx_quote, .close = tdx_close };

int ag_tee_tdx(const char *device, const char *qgs, const char *event_log, struct ag_tee **tee, struct err *e)
{
	struct tdx *tdx = calloc(1, sizeof(*tdx));
	int ret = tdx ? 0 : err_at(e, -ENOMEM, device, "out of memory");

	if (!ret && !ag_qgs_is_address(qgs, e))
		ret = e->code;
	if (!ret && access(device, R_OK | W_OK) < 0)
		ret = err_at(e, -errno, device, "%s: no TDX guest device here", strerror(errno));
	if (ret < 0) {
		free(tdx);
		return ret;
	}
	*tdx = (struct tdx){ .tee.ops = &tdx_ops,
			     .device = strdup(device),
			     .qgs = strdup(qgs),
			     .event_log = event_log ? strdup(event_log) : NULL };
	*tee = &tdx->tee;
	return 0;
}
