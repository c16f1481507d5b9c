//! What every controller needs: a client, backoff, health, logs and shutdown.
