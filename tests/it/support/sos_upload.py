"""What `sos report --upload` does with an SFTP address (sos 4.2 and newer): it drives OpenSSH's sftp at a terminal, waits
for its prompts, and knows no other signs of success than these words.

Arguments: the sftp command line to run, as words; before it the archive and its name on the server, separated by --.
"""
import os
import sys

import pexpect

archive, name, dashes, *command = sys.argv[1:]
assert dashes == "--"
child = pexpect.spawn(command[0], command[1:], encoding="utf-8")
# sos gives up when there is no prompt within 15 seconds, and 10 more after the password.
if child.expect(["sftp>", "password:"], timeout=15) == 1:
    child.sendline(os.environ["TEST_TOKEN"])
    assert child.expect(["sftp>", "Permission denied"], timeout=10) == 0, child.before
child.sendline(f"put {archive} {name}")
assert child.expect(["100%", "No such file or directory"], timeout=180) == 0, child.before
child.sendline("bye")
child.expect(pexpect.EOF, timeout=30)
child.close()
sys.exit(child.exitstatus)
