"""The parts of the status page, each as HTML in which every text is escaped."""
