output "backend" {
  description = "For --backend, or LEASEHOLD_BACKEND."
  value       = "spanner://${var.project}/${local.instance}/${google_spanner_database.locks.name}${var.table == "leasehold" ? "" : "?table=${var.table}"}"
}

output "service_account" {
  description = "Who may take the locks; for --impersonate-service-account."
  value       = google_service_account.locks.email
}
