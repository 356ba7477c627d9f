variable "project" {
  description = "The id of the project."
  type        = string
}

variable "instance" {
  description = "The id of the instance."
  type        = string
}

variable "make_instance" {
  description = "Whether the instance is made. False: it is there, and the locks' database goes into it."
  type        = bool
  default     = true
}

variable "config" {
  description = "Where an instance that is made is, such as regional-europe-west1."
  type        = string
  default     = null
}

variable "database" {
  description = "The id of the database that is made: one for all locks will do."
  type        = string
  default     = "locks"
}

variable "table" {
  description = "The name of the table."
  type        = string
  default     = "leasehold"

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_]{0,127}$", var.table))
    error_message = "A letter, then letters, digits and underscores."
  }
}

variable "members" {
  description = "Who else may take locks, such as user:ada@example.com or group:deployers@example.com."
  type        = list(string)
  default     = []
}

variable "service_account" {
  description = "The name of the service account that is made, the part before the @."
  type        = string
  default     = "leasehold-spanner"
}
