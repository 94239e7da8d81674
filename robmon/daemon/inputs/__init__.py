"""Where inputs come from besides the port that they are sent to: files and Kafka, by the settings."""
