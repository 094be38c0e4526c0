// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "internal.h"

int vs_send(struct ipc *ipc, enum vs_msg_type type, const void *head, size_t head_len, const void *bytes, size_t len)
{
	auto_out struct out out = { 0 };

	if (head_len + len > IPC_MAX)
		return ipc_send_blob(ipc, (uint16_t)type, head, head_len, bytes, len);
	out_bytes(&out, head, head_len);
	if (len)
		out_bytes(&out, bytes, len);
	return out_ok(&out) ? ipc_send(ipc, (uint16_t)type, out.data, out.len, -1) : -ENOMEM;
}

bool vs_take(const struct ipc_msg *msg, size_t head_len, const uint8_t **bytes, size_t *len, uint8_t **copy)
{
	if (msg->len < head_len)
		return false;
	*bytes = (const uint8_t *)msg->data + head_len;
	*len = msg->len - head_len;
	if (msg->fd < 0)
		return true;
	if (*len || ipc_blob_read(msg->fd, ID_RECORD_MAX, copy, len) < 0)
		return false;
	*bytes = *copy;
	return true;
}
