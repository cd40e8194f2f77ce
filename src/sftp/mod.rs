//! sftp.
