# SPDX-License-Identifier: Apache-2.0
"""An authorisation webhook for 18-kms.sh. usage: kms_webhook.py PORT_FILE MODE_FILE SEEN_FILE

Listens on a free port of the loopback, writes it to PORT_FILE, and answers as MODE_FILE says at that moment."""
import http.server
import json
import sys
import time

port_file, mode_file, seen_file = sys.argv[1:4]


class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        with open(seen_file, 'w') as seen:
            json.dump({'path': self.path, 'agent': self.headers['User-Agent'], 'body': json.loads(body)}, seen)
        mode = open(mode_file).read().strip()
        yes = {'isAllowed': True, 'gatewayAppId': 'ab' * 20, 'reason': ''}
        status, answer = 200, json.dumps(yes)
        if mode == 'no':
            answer = json.dumps({'isAllowed': False, 'gatewayAppId': '', 'reason': 'not today'})
        elif mode == 'slow':
            time.sleep(6)
        elif mode == 'lie':
            answer = json.dumps({'isAllowed': 'true'})
        elif mode == 'oversize':
            answer = json.dumps(dict(yes, reason='x' * 200000))
        elif mode == 'error':
            status = 500
        elif mode == 'redirect':
            status = 302
        try:
            self.send_response(status)
            if mode == 'redirect':
                self.send_header('Location', 'http://127.0.0.1:1/')
            self.send_header('Content-Length', str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())
        except OSError:
            pass  # who asked did not wait

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Webhook)
with open(port_file, 'w') as f:
    f.write(str(server.server_port))
server.serve_forever()
